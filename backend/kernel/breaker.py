"""A circuit breaker: a server that does not answer is not asked for a while."""

from __future__ import annotations

import threading
from time import monotonic

from backend.kernel.observe import metrics


class Breaker:
    """After a failure all calls fail at once for a while, then one tries.

    Args:
        server: its name in metrics.
        seconds: until the next try.
    """

    def __init__(self, server: str, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._lock = threading.Lock()
        self._retry_at: float | None = None
        metrics.set_breaker_open(server, is_open=False)

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once."""
        return self._retry_at is not None

    def allows(self) -> bool:
        """Whether the caller may try. Each try while the breaker is open postpones the next one."""
        if not self.is_open:
            return True
        with self._lock:
            now = monotonic()
            if self._retry_at is not None:
                if now < self._retry_at:
                    return False
                self._retry_at = now + self._seconds
            return True

    def succeeded(self) -> bool:
        """Close the breaker: the server answers. Returns whether it was open."""
        if not self.is_open:
            return False
        with self._lock:
            was_open, self._retry_at = self.is_open, None
        metrics.set_breaker_open(self._server, is_open=False)
        return was_open

    def failed(self) -> bool:
        """Open the breaker: the server did not answer. Returns whether it was closed."""
        with self._lock:
            was_open, self._retry_at = self.is_open, monotonic() + self._seconds
        metrics.set_breaker_open(self._server, is_open=True)
        return not was_open
