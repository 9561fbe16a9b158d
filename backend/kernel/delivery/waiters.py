"""The requests of this process that wait for an outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from backend.kernel.observe import metrics


class Waiters:
    """The requests of this process that wait for the outcome of an operation, at most `slots` at once."""

    def __init__(self, slots: int) -> None:
        self._free = threading.BoundedSemaphore(slots)
        self._taken = 0
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}

    @contextmanager
    def slot(self, operation_id: UUID, *, wanted: bool = True) -> Iterator[threading.Event | None]:
        """A slot to wait in until the operation is finished; None if no slot is free, or none is wanted."""
        if not wanted or not self._free.acquire(blocking=False):
            yield None
            return
        key, finished = str(operation_id), threading.Event()
        with self._lock:
            self._taken += 1
            metrics.set_waiting_slots(self._taken)
            self._waiting.setdefault(key, []).append(finished)
        try:
            yield finished
        finally:
            with self._lock:
                self._taken -= 1
                metrics.set_waiting_slots(self._taken)
                self._waiting[key].remove(finished)
                if not self._waiting[key]:
                    del self._waiting[key]
            self._free.release()

    def hear(self, operation_id: str) -> None:
        """Wake the requests that wait for this finished operation."""
        with self._lock:
            for finished in self._waiting.get(operation_id, ()):
                finished.set()

    def catch_up(self) -> None:
        """Nothing to do: a missed notification costs an early answer, never the outcome."""
