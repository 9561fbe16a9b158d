"""Turns: how many passwords a process checks at once. Many sign-ins must leave cores to the reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from backend.kernel.messages.refusals import Busy
from backend.kernel.resources import Resources

_LONGEST_WAIT = 4.0
_PLACES_TO_WAIT = 40
"""Fewer than a process has threads (64): a request that waits for a turn occupies one."""
_PLACES_OF_ONE_NETWORK = 20


class Turns:
    """The turns of one process.

    Of one account, one at a time: correct passwords in parallel would look like failures to each other.
    One network has at most half of the places to wait, so that it cannot block all others.
    """

    def __init__(self, at_once: int | None = None, longest_wait: float = _LONGEST_WAIT) -> None:
        self._free = at_once or os.cpu_count() or 1
        self._longest_wait = longest_wait
        self._waiting: Counter[str] = Counter()
        self._accounts: set[str] = set()
        self._changed = Condition()

    @property
    def waiting(self) -> int:
        """How many requests wait for a turn."""
        return self._waiting.total()

    @contextmanager
    def one(self, account: str, network: str = "") -> Iterator[None]:
        """A turn for the account.

        Raises:
            Busy: too many requests wait, or this one waited too long.
        """
        with self._changed:
            if self.waiting >= _PLACES_TO_WAIT or self._waiting[network] >= _PLACES_OF_ONE_NETWORK:
                raise Busy
            self._waiting[network] += 1
            mine = self._changed.wait_for(lambda: self._free and account not in self._accounts, self._longest_wait)
            self._waiting[network] -= 1
            if not self._waiting[network]:
                del self._waiting[network]
            if not mine:
                raise Busy
            self._free -= 1
            self._accounts.add(account)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._accounts.discard(account)
                self._changed.notify_all()


def turns_of(_resources: Resources) -> Turns:
    """The turns of this process."""
    return Turns()
