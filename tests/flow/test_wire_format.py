"""What already lies in a queue, or is bound by another program, must stay readable."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest

from backend.kernel.context import AnyContext
from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.sealing import SEALED_PREFIX
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers, Registry
from backend.kernel.messages.secret import Secret
from tests.flow.wire import MESSAGE_ID, PROGRAM, SEALER, body_of, handlers, pinned, public_events, readings

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
    published = {other.name: public_events(other) for other in PROGRAM.contexts}
    for key, fields in readings(context).items():
        owner = published.get(key.partition(".")[0])
        assert owner is None or fields <= owner.get(key, set()), f"nobody publishes {key} with {sorted(fields)}"


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    name: str
    made_on: date | None


class Note(TypedDict, total=False):
    written_at: time


@dataclass(frozen=True)
class EveryKind(Command):
    """A field of each kind that a command may have."""

    command_id: UUID
    day: date
    at: datetime
    price: Decimal
    lasts: timedelta
    weight: float
    content: bytes
    part: Part
    parts: tuple[Part, ...]
    pair: tuple[int, str]
    names: frozenset[str]
    notes: dict[str, Note]
    colour: Colour
    password: Secret
    nothing: None = None


def test_whatever_a_command_is_made_of_can_be_pinned() -> None:
    handlers = Handlers[None]("kinds")
    handlers.on(EveryKind)(lambda _command, _ports: None)
    (handler,) = handlers
    registry = Registry([handlers])
    queued = SEALER.signed(Envelope(MESSAGE_ID, handler.name, handler.lane, json.loads(json.dumps(body_of(handler)))))
    understood = Codec(registry, SEALER).decode(EveryKind, queued)
    assert (understood.day, understood.price) == (date(2026, 1, 1), Decimal("1.50"))
    assert understood.part == understood.parts[0] == Part("text", date(2026, 1, 1))
    assert understood.password == Secret("correct horse battery")


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if not str(value).startswith(SEALED_PREFIX)}
