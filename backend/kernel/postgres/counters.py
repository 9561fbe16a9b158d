"""Counters with rules, on which every limit is built.

Guarantee: counters are locked in the order of their keys, checked, then written. So of parallel uses no more are
allowed than the rule says, however many processes ask. A crash of the database may lose those of its last second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from backend.kernel.keys import Keyring
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.statements import driver_of
from backend.kernel.postgres.tables import metadata

_TIME = sa.DateTime(timezone=True)

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("times", ARRAY(_TIME), nullable=False),
    sa.Column("blocks", sa.Integer, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Index(None, "expires_at"),
)
RETENTION = Retention(counters.c.expires_at, timedelta())
"""Counters that no longer refuse anybody."""

# Locks and reads in one round trip. The time is the database's, because clocks of processes differ.
_LOCK = """
insert into counters as counted (key, times, blocks, expires_at)
select key, '{}', 0, clock_timestamp() from unnest(%(keys)s::bytea[]) as asked (key) order by key
on conflict (key) do update set blocks = counted.blocks
returning key, times, blocks, clock_timestamp()
"""
_READ = "select key, times, blocks, clock_timestamp() from counters where key = any(%(keys)s)"
_WRITE = """
update counters set times = %(times)s, blocks = %(blocks)s, expires_at = clock_timestamp() + %(kept)s
where key = %(key)s
"""
# If a crash of the database undoes a count, one more use is allowed. So do not wait for the disk.
_QUICKLY = "set local synchronous_commit = off"


class Count(NamedTuple):
    """The content of a counter.

    Attributes:
        times: the recently counted times, in order.
        blocks: how often the limit was reached before, if that matters.
    """

    times: tuple[datetime, ...] = ()
    blocks: int = 0


class Counted(Protocol):
    """The count after a rule."""

    @property
    def times(self) -> tuple[datetime, ...]:
        """See `Count`."""

    @property
    def blocks(self) -> int:
        """See `Count`."""


Rule = Callable[[Count, datetime], Counted]
"""Turns the current count into the next one; raises a refusal if that is too much."""


@dataclass(frozen=True)
class Change:
    """One counter and the change to it.

    Attributes:
        kept: how long the counter is needed.
    """

    key: bytes
    rule: Rule
    kept: timedelta


class Counters:
    """The counters of the program."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def key(self, *names: str) -> bytes:
        """The key of a counter; the table contains no name or address.

        No name may contain NUL: a name that a caller chooses must not equal another counter's.
        """
        return self._keyring.digest("counter", "\0".join(names).encode("utf-8", "surrogatepass"))

    def check(self, changes: Sequence[Change], *, timeout: float = 3) -> None:
        """Judge without counting and without a lock: a refusal costs as little as possible.

        Args:
            timeout: seconds to wait for a connection.

        Raises:
            Refusal: a rule's.
            DatabaseAway: PostgreSQL cannot be reached.
        """
        rows = self._database.read(
            lambda connection: connection.execute(_READ, {"keys": [change.key for change in changes]}).fetchall(),
            timeout=timeout,
            fresh=True,
        )
        _judged(changes, rows)

    def change(self, changes: Sequence[Change], connection: sa.Connection | None = None, *, timeout: float = 3) -> None:
        """Judge in the order given, then count, all or nothing.

        Args:
            connection: of the transaction to count in; by default a transaction of its own.
            timeout: see `check`.

        Raises:
            Refusal: a rule's.
            DatabaseAway: PostgreSQL cannot be reached.
        """
        if connection is not None:
            _change(driver_of(connection), changes)
        else:
            self._database.read(lambda own: _change_at_once(own, changes), timeout=timeout, fresh=True)


def _change_at_once(connection: ReadConnection, changes: Sequence[Change]) -> None:
    with connection.transaction():
        connection.execute(_QUICKLY)
        _change(connection, changes)


def _change(connection: ReadConnection, changes: Sequence[Change]) -> None:
    rows = connection.execute(_LOCK, {"keys": [change.key for change in changes]}).fetchall()
    counted = [
        {"key": change.key, "times": list(count.times), "blocks": count.blocks, "kept": change.kept}
        for change, count in zip(changes, _judged(changes, rows), strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_WRITE, counted)


def _judged(changes: Sequence[Change], rows: Sequence[tuple[bytes, list[datetime], int, datetime]]) -> list[Counted]:
    found = {key: (Count(tuple(times), blocks), now) for key, times, blocks, now in rows}
    return [change.rule(*found[change.key]) for change in changes if change.key in found]
