"""What lies in queues, pinned: `python -m tests.flow.wire` adds what is new to the pins and changes nothing in them.

The pins of a context lie with its tests, in `tests/contexts/<name>/wire.json`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

from msgspec import inspect

from backend.kernel.context import AnyContext
from backend.kernel.delivery.sealing import Sealer
from backend.kernel.keys import Keyring
from backend.kernel.messages.event import Event
from backend.kernel.messages.registry import Handler
from backend.kernel.messages.secret import Secret
from backend.program import Program
from backend.settings import ROOT
from tests.settings import settings_with
from tests.worker import SECRET_KEY

MESSAGE_ID = UUID("0190a0a0-0000-7000-8000-000000000000")
SEALER = Sealer(Keyring([SECRET_KEY]))
PROGRAM = Program(settings_with())


def pinned(context: AnyContext) -> dict[str, Any]:
    """`messages`: each task's name with its queue and a body. `events`: each routing key with its fields."""
    file = _file(context)
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"messages": {}, "events": {}}
    return found


def handlers(context: AnyContext) -> dict[str, Handler]:
    """What workers run of it, by the name that lies in the queue."""
    return {name: one for name, one in PROGRAM.registry.queued().items() if one.context == context.name}


def public_events(context: AnyContext) -> dict[str, set[str]]:
    """What other programs may have subscribed to: each routing key with the names of its fields."""
    if find_spec(f"{context.package}domain") and find_spec(module := f"{context.package}domain.events"):
        importlib.import_module(module)
    return {event.routing_key(): _fields(event) for event in _events(context) if event.public and not event.reads}


def readings(context: AnyContext) -> dict[str, set[str]]:
    """What it reads of other contexts' events: each routing key with the names of the fields."""
    return {event.reads: _fields(event) for event in _events(context) if event.reads}


def _events(context: AnyContext) -> list[type[Event]]:
    return [event for event in _leaves(Event) if event.__module__.startswith(context.package)]


def _fields(event: type[Event]) -> set[str]:
    return {field.name for field in fields(event)}


def _file(context: AnyContext) -> Path:
    return ROOT / "tests/contexts" / context.name / "wire.json"


def _leaves(kind: type[Event]) -> Iterator[type[Event]]:
    """The events that happen: those below them only share fields."""
    below = [one for one in kind.__subclasses__() if one.__module__.startswith("backend.")]
    if not below:
        yield kind
    for one in below:
        yield from _leaves(one)


def body_of(handler: Handler) -> dict[str, Any]:
    """The body of a message for that handler, its secrets sealed as in the message `MESSAGE_ID`."""
    kind = inspect.type_info(handler.message)
    if not isinstance(kind, inspect.DataclassType):
        raise TypeError(f"{handler.name} takes no dataclass")
    return {
        field.encode_name: _sealed(handler.name, field.encode_name) if _is_secret(field.type) else _example(field.type)
        for field in kind.fields
    }


def _sealed(name: str, field: str) -> str:
    return SEALER.seal("correct horse battery", MESSAGE_ID, name, field)


def _is_secret(kind: inspect.Type) -> bool:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(one, inspect.DataclassType) and one.cls is Secret for one in kinds)


def _example(kind: inspect.Type) -> Any:  # noqa: PLR0911 - one line per kind
    match kind:
        case inspect.DataclassType() | inspect.TypedDictType():
            return {field.encode_name: _example(field.type) for field in kind.fields}
        case inspect.UnionType():
            return _example(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
        case inspect.CollectionType():
            return [_example(kind.item_type)]
        case inspect.TupleType():
            return [_example(one) for one in kind.item_types]
        case inspect.DictType():
            return {_example(kind.key_type): _example(kind.value_type)}
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.NoneType():
            return None
    if type(kind) not in _PLAIN:
        raise TypeError(f"no example for {kind}: add one to _PLAIN in {__name__}")
    return _PLAIN[type(kind)]


_PLAIN: dict[type[inspect.Type], Any] = {
    inspect.UUIDType: str(MESSAGE_ID),
    inspect.StrType: "text",
    inspect.IntType: 1,
    inspect.FloatType: 1.5,
    inspect.BoolType: True,
    inspect.BytesType: "dGV4dA==",
    inspect.DecimalType: "1.50",
    inspect.DateTimeType: "2026-01-01T00:00:00Z",
    inspect.DateType: "2026-01-01",
    inspect.TimeType: "12:30:00",
    inspect.TimeDeltaType: "PT90S",
    inspect.AnyType: "text",
}


def _complete(context: AnyContext) -> None:
    pins = pinned(context)
    for name, handler in handlers(context).items():
        if name not in pins["messages"]:
            pins["messages"][name] = {"queue": handler.lane, "body": body_of(handler)}
    for key, names in public_events(context).items():
        pins["events"].setdefault(key, sorted(names))
    if pins["messages"] or pins["events"]:
        _file(context).write_text(json.dumps(pins, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    for one in PROGRAM.contexts:
        _complete(one)
