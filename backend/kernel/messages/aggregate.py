"""The base class of aggregates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from backend.kernel.messages.event import Event

V = TypeVar("V")


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


class LastWriteWins(Aggregate):
    """An aggregate whose fields are set by commands that may arrive in another order than they were accepted.

    Two workers process two messages of one lane in parallel, and a spooled message arrives late. So each field records
    when its last write was accepted, and an earlier write changes nothing.

    Attributes:
        written: by field, when the command that wrote it was accepted, in microseconds since 1970.
    """

    written: dict[str, int]

    def superseded(self, field: str, accepted_at: datetime) -> bool:
        """Whether a command accepted later has written the field already."""
        return _microseconds(accepted_at) < self.written.get(field, 0)

    def newest(self, changes: Mapping[str, V], accepted_at: datetime) -> dict[str, V]:
        """The changes that no later command has overwritten already; they count as written from now on."""
        newest = {field: value for field, value in changes.items() if not self.superseded(field, accepted_at)}
        if newest:
            at = _microseconds(accepted_at)
            self.written = {**self.written, **dict.fromkeys(newest, at)}  # a new dict: the mapper compares identities
        return newest


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
