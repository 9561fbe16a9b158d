"""The base of what changes as one and says what happened to it."""

from __future__ import annotations

from backend.kernel.messages.event import Event


class Aggregate:
    """Keeps the events of a change until the unit of work takes them.

    The mapper builds loaded entities without `__init__`, so the list is made on first use.
    """

    _events: list[Event] | None = None

    def record(self, event: Event) -> None:
        """Note that `event` happened; it is published if, and only if, the change is committed."""
        self._events = [*(self._events or ()), event]

    def pull_events(self) -> list[Event]:
        """Hand over what was recorded since the last call, in order."""
        events, self._events = self._events or [], None
        return events
