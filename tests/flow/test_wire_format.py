"""What already lies in a queue, or is bound by another program, must stay readable."""

from __future__ import annotations

from typing import Any

import pytest

from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.sealing import SEALED_PREFIX, Keyring
from backend.program import HANDLERS
from tests.flow.wire import pinned, public_events
from tests.worker import SECRET_KEY

_PINS = pinned()
_ADD = "pin it with `python -m tests.flow.wire`; a pinned one is renamed or removed in two releases, never in one"


def test_the_names_of_all_tasks_are_pinned() -> None:
    """A queued message finds its handler by name."""
    assert set(HANDLERS) == set(_PINS["messages"]), _ADD


@pytest.mark.parametrize("name", _PINS["messages"])
def test_a_message_queued_by_an_earlier_release_is_understood(name: str) -> None:
    """Its queue is still consumed, and each of its fields still has its meaning."""
    codec, pin = Codec(Keyring([SECRET_KEY])), _PINS["messages"][name]
    assert pin["queue"] in {handler.queue for handler in HANDLERS.values()}
    understood = codec.encode(codec.decode(HANDLERS[name].message, pin["body"]))
    assert _without_secrets(pin["body"]).items() <= _without_secrets(understood).items()


def test_the_events_for_the_outside_world_are_pinned() -> None:
    """Programs bind to routing keys and read fields that we do not know of."""
    assert set(public_events()) == set(_PINS["events"]), _ADD
    for key, fields in public_events().items():
        assert set(_PINS["events"][key]) <= fields


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if not str(value).startswith(SEALED_PREFIX)}
