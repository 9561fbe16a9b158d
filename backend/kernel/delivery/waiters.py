"""The requests of this process that wait for an outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from backend.kernel.observe import metrics


class Waiters:
    """The requests of this process that wait for the outcome of an operation, at most `slots` at once.

    Anonymous callers get at most half of the slots: whoever is signed in can wait while the anonymous fill theirs.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._taken = 0
        self._taken_by_anonymous = 0
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}

    @contextmanager
    def slot(self, operation_id: UUID, *, anonymous: bool, wanted: bool = True) -> Iterator[threading.Event | None]:
        """A slot to wait in until the operation is finished; None if no slot is free, or none is wanted."""
        key, finished = str(operation_id), threading.Event()
        if not wanted or not self._take(key, finished, anonymous=anonymous):
            yield None
            return
        try:
            yield finished
        finally:
            self._give_back(key, finished, anonymous=anonymous)

    def _take(self, key: str, finished: threading.Event, *, anonymous: bool) -> bool:
        with self._lock:
            full = self._taken >= self._slots
            if full or (anonymous and self._taken_by_anonymous >= (self._slots + 1) // 2):
                return False
            self._count(1, anonymous=anonymous)
            self._waiting.setdefault(key, []).append(finished)
            return True

    def _give_back(self, key: str, finished: threading.Event, *, anonymous: bool) -> None:
        with self._lock:
            self._count(-1, anonymous=anonymous)
            self._waiting[key].remove(finished)
            if not self._waiting[key]:
                del self._waiting[key]

    def _count(self, change: int, *, anonymous: bool) -> None:
        self._taken += change
        self._taken_by_anonymous += change * anonymous
        metrics.set_waiting_slots(self._taken)

    def hear(self, operation_id: str) -> None:
        """Wake the requests that wait for this finished operation."""
        with self._lock:
            for finished in self._waiting.get(operation_id, ()):
                finished.set()

    def catch_up(self) -> None:
        """Nothing to do: a missed notification costs an early answer, never the outcome."""
