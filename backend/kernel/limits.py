"""Limits: how often something may happen within a sliding window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from math import ceil
from threading import Lock
from time import monotonic
from uuid import UUID

import sqlalchemy as sa
import structlog

from backend.kernel.messages.refusals import TooManyRequests
from backend.kernel.postgres.counters import Change, Count, Counters
from backend.kernel.postgres.faults import DatabaseAway

_MOST_TIMES = 1000
"""The most times that a counter stores."""
_AHEAD_SECONDS = 300
"""How long a process keeps what it has counted in advance."""
_REPEATED_WITHIN = timedelta(days=1)
_LONGEST_WAIT = 0.5
"""Seconds to wait for a connection, before a command is accepted without being counted."""
_AWAY_SECONDS = 1
"""How long a database that was away is not asked again."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""The well-known prefix (RFC 6052)."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limit:
    """A limit: at most so many within any window.

    Attributes:
        name: what is counted.
    """

    name: str
    most: int
    window: timedelta = timedelta(hours=1)

    @property
    def step(self) -> int:
        """How many are counted at once: one, unless the limit is too high to store the time of each."""
        return -(-self.most // _MOST_TIMES)

    def plus(self, count: Count, now: datetime) -> Count:
        """Add one step.

        Raises:
            TooManyRequests: the limit is reached.
        """
        recent = [time for time in count.times if time > now - self.window]
        room = self.most // self.step
        if len(recent) >= room:
            left = recent[-room] + self.window - now
            raise TooManyRequests(max(ceil(left.total_seconds()), 1))
        return Count((*recent, now))


Use = tuple[Limit, str]
"""A limit and whose use counts: an address, a network; "" for all together."""


class Limits:
    """Checks limits for one process."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._ahead = _Ahead()
        self._away_until = 0.0

    def take(self, uses: Sequence[Use], once: UUID | None = None) -> None:
        """Count these uses, all or none.

        While PostgreSQL is away they pass: then only the broker accepts commands, and its lanes are bounded.

        Args:
            once: the id of what is repeated: within a day it is counted only once.

        Raises:
            TooManyRequests: a limit is reached.
        """
        wanted = {self._counters.key(limit.name, whose): limit for limit, whose in uses}
        paid = self._ahead.take(wanted)
        due = {key: limit for key, limit in wanted.items() if key not in paid}
        changes = [Change(key, limit.plus, limit.window) for key, limit in due.items()]
        if once is not None:
            changes.insert(0, Change(self._counters.key("once", str(once)), _first, _REPEATED_WITHIN))
        if not changes or monotonic() < self._away_until:
            return
        try:
            self._counters.check(changes, timeout=_LONGEST_WAIT)
            self._counters.change(changes, timeout=_LONGEST_WAIT)
        except _Repeated:
            self._ahead.put(dict.fromkeys(paid, 1))
        except TooManyRequests:
            self._ahead.put(dict.fromkeys(paid, 1))
            raise
        except DatabaseAway:
            self._away_until = monotonic() + _AWAY_SECONDS
            log.warning("not counted: the database is away", limits=[limit.name for limit in wanted.values()])
        else:
            self._ahead.put({key: limit.step - 1 for key, limit in due.items() if limit.step > 1})

    def take_in(self, connection: sa.Connection, uses: Sequence[Use]) -> bool:
        """Count these uses, all or none, in the transaction; False if a limit is reached."""
        changes = [Change(self._counters.key(limit.name, whose), limit.plus, limit.window) for limit, whose in uses]
        try:
            self._counters.change(changes, connection)
        except TooManyRequests:
            return False
        return True


class _Ahead:
    """What remains of the steps that this process has counted in advance, for limits with steps above one.

    It is dropped every few minutes: what was counted long ago must not be used in another window.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._left: Counter[bytes] = Counter()
        self._ends_at = 0.0

    def take(self, keys: Iterable[bytes]) -> list[bytes]:
        """Use one of each that remains; returns those."""
        with self._lock:
            if monotonic() > self._ends_at:
                self._left.clear()
                self._ends_at = monotonic() + _AHEAD_SECONDS
            found = [key for key in keys if self._left[key] > 0]
            self._left.subtract(found)
            return found

    def put(self, numbers: Mapping[bytes, int]) -> None:
        """Store these for later."""
        with self._lock:
            self._left.update(numbers)


class _Repeated(Exception):
    """It was counted before."""


def _first(count: Count, now: datetime) -> Count:
    if count.times:
        raise _Repeated
    return Count((now,))


@lru_cache(4096)
def network_of(ip: str) -> str:
    """The addresses that one person has: one IPv4 address, or an IPv6 /64. Invalid addresses count together."""
    try:
        address = ip_address(ip)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        return str(_embedded(address) or int(address) >> 64)
    return str(address)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address of whoever is translated by NAT64 (all of them share a /64), or has 6to4 (each has a /48)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
