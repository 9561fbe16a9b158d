"""What lies in queues, pinned: `python -m tests.flow.wire` adds what is new to wire.json and changes nothing in it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from msgspec import inspect

from backend.kernel.delivery.sealing import Keyring
from backend.kernel.messages.event import Event
from backend.program import HANDLERS
from backend.settings import ROOT
from tests.worker import SECRET_KEY

_FILE = Path(__file__).with_name("wire.json")


def pinned() -> dict[str, Any]:
    """`messages`: each task's name with its queue and a body. `events`: each routing key with its fields."""
    found: dict[str, Any] = json.loads(_FILE.read_text()) if _FILE.exists() else {"messages": {}, "events": {}}
    return found


def public_events() -> dict[str, set[str]]:
    """What other programs may have subscribed to: each routing key with the names of its fields."""
    for path in sorted((ROOT / "backend").glob("*/domain/events.py")):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return {event.routing_key(): {field.name for field in fields(event)} for event in _leaves(Event) if event.public}


def _leaves(kind: type[Event]) -> Iterator[type[Event]]:
    """The events that happen: those below them only share fields."""
    below = [one for one in kind.__subclasses__() if one.__module__.startswith("backend.")]
    if not below:
        yield kind
    for one in below:
        yield from _leaves(one)


def _example(kind: inspect.Type) -> Any:  # noqa: PLR0911 - one line per kind
    match kind:
        case inspect.DataclassType() | inspect.TypedDictType():
            return {field.encode_name: _example(field.type) for field in kind.fields}
        case inspect.UnionType():
            return _example(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
        case inspect.ListType() | inspect.VarTupleType() | inspect.CollectionType():
            return [_example(kind.item_type)]
        case inspect.DictType():
            return {_example(kind.key_type): _example(kind.value_type)}
        case inspect.CustomType():
            return Keyring([SECRET_KEY]).seal("correct horse battery")
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.LiteralType():
            return kind.values[0]
    return _PLAIN[type(kind)]


_PLAIN: dict[type[inspect.Type], Any] = {
    inspect.UUIDType: "0190a0a0-0000-7000-8000-000000000000",
    inspect.StrType: "text",
    inspect.IntType: 1,
    inspect.BoolType: True,
    inspect.DecimalType: "1.50",
    inspect.DateTimeType: "2026-01-01T00:00:00Z",
    inspect.AnyType: "text",
}


def _complete() -> None:
    pins = pinned()
    for name, handler in HANDLERS.items():
        if name not in pins["messages"]:
            body = _example(inspect.type_info(handler.message))
            pins["messages"][name] = {"queue": handler.queue, "body": body}
    for key, names in public_events().items():
        pins["events"].setdefault(key, sorted(names))
    _FILE.write_text(json.dumps(pins, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    _complete()
