"""The base class of aggregates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from backend.kernel.messages.event import Event

V = TypeVar("V")
FieldRules = Mapping[str, Callable[[Any, str], object]]
"""By field: the function that refuses a value, given the value and the field's name."""


class Aggregate:
    """An entity that changes as a whole. It keeps its events until the unit of work collects them.

    The mapper creates loaded entities without `__init__`, so the list is created on first use.
    """

    _events: list[Event] | None = None

    def record(self, event: Event) -> None:
        """Record an event. It is published if, and only if, the change is committed."""
        self._events = [*(self._events or ()), event]

    def pull_events(self) -> list[Event]:
        """Return the events recorded since the last call, in order."""
        events, self._events = self._events or [], None
        return events


@dataclass(eq=False)
class LastWriteWins(Aggregate):
    """An aggregate whose fields are set by commands that may arrive in another order than they were accepted.

    Two workers process two messages of one lane in parallel, and a spooled message arrives late. So each field records
    when its last write was accepted, and an earlier write changes nothing.

    Attributes:
        field_rules: checked when one is made and when a field is written. Rows become entities without a check.
        written: by field, when the command that wrote it was accepted, in microseconds since 1970.

    Raises:
        Invalid: a field breaks its rule.
    """

    field_rules: ClassVar[FieldRules] = {}

    written: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.check({name: getattr(self, name) for name in self.field_rules})

    def check(self, values: Mapping[str, Any]) -> None:
        """Check the values of these fields. What is absent (None, an empty list) breaks no rule.

        Raises:
            Invalid: a value breaks the rule of its field.
        """
        for name, value in values.items():
            if name in self.field_rules and value not in (None, []):
                self.field_rules[name](value, name)

    def write(self, changes: Mapping[str, Any], accepted_at: datetime) -> list[str]:
        """Set the fields, except those that a later command has written already; returns which are different now.

        Raises:
            Invalid: a new value breaks the rule of its field.
        """
        newest = self.newest(changes, accepted_at)
        changed = sorted(name for name, value in newest.items() if getattr(self, name) != value)
        self.check({name: newest[name] for name in changed})
        for name in changed:
            setattr(self, name, newest[name])
        return changed

    def superseded(self, name: str, accepted_at: datetime) -> bool:
        """Whether a command accepted later has written the field already."""
        return _microseconds(accepted_at) < self.written.get(name, 0)

    def newest(self, changes: Mapping[str, V], accepted_at: datetime) -> dict[str, V]:
        """The changes that no later command has overwritten already; they count as written from now on."""
        newest = {name: value for name, value in changes.items() if not self.superseded(name, accepted_at)}
        if newest:
            at = _microseconds(accepted_at)
            self.written = {**self.written, **dict.fromkeys(newest, at)}  # a new dict: the mapper compares identities
        return newest


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
