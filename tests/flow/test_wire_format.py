"""What already lies in a queue, or is bound by another program, must stay readable."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backend.kernel.context import AnyContext
from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.sealing import SEALED_PREFIX
from tests.flow.wire import MESSAGE_ID, PROGRAM, SEALER, handlers, pinned, public_events, readings

_MESSAGES = {name: pin for context in PROGRAM.contexts for name, pin in pinned(context)["messages"].items()}
_ADD = "pin it with `python -m tests.flow.wire`; a pinned one is renamed or removed in two releases, never in one"

every_context = pytest.mark.parametrize("context", PROGRAM.contexts, ids=lambda context: context.name)


@every_context
def test_the_names_of_all_tasks_are_pinned(context: AnyContext) -> None:
    """A queued message finds its handler by name."""
    assert set(handlers(context)) == set(pinned(context)["messages"]), _ADD


@pytest.mark.parametrize("name", _MESSAGES)
def test_a_message_queued_by_an_earlier_release_is_understood(name: str) -> None:
    """Its queue is still consumed, and each of its fields still has its meaning."""
    codec, pin = Codec(PROGRAM.registry, SEALER), _MESSAGES[name]
    assert pin["queue"] in PROGRAM.registry.lanes()
    queued = SEALER.signed(Envelope(MESSAGE_ID, name, pin["queue"], pin["body"]))
    understood: object = codec.decode(PROGRAM.registry.by_name[name].message, queued)
    fields = msgspec.to_builtins(understood, enc_hook=lambda _secret: SEALED_PREFIX)
    assert _without_secrets(pin["body"]).items() <= _without_secrets(fields).items()


@every_context
def test_the_events_for_the_outside_world_are_pinned(context: AnyContext) -> None:
    """Programs bind to routing keys and read fields that we do not know of."""
    events, pins = public_events(context), pinned(context)["events"]
    assert set(events) == set(pins), _ADD
    for key, fields in events.items():
        assert set(pins[key]) <= fields


@every_context
def test_what_a_context_reads_of_an_event_is_what_the_other_one_publishes(context: AnyContext) -> None:
    """It declares the fields for itself, so nothing else would tell when they are renamed. The other may be absent."""
    published = {key: fields for other in PROGRAM.contexts for key, fields in public_events(other).items()}
    for key, fields in readings(context).items():
        assert fields <= published.get(key, fields), key


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if not str(value).startswith(SEALED_PREFIX)}
