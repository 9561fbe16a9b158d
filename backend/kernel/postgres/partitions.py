"""Tables in partitions by the time in their ids (UUIDv7): created in advance, dropped when all rows are past retention.

Guarantee: no row is refused, and none is lost early. A row without a partition of its time (the maintenance was missed,
a clock is wrong, the partition is gone) goes to the default partition. Its rows are deleted one by one, like those of
the oldest, which contains every id without a time. See docs/adr/0025-partitions-by-the-time-in-ids.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import sql

from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.faults import DatabaseAway
from backend.kernel.postgres.statements import driver_of

_AHEAD = 3
"""Partitions that exist from now on: that of today and the next ones."""
_MOST_MOVED = 10_000
"""Rows that are moved out of a partition before it is dropped; it stays while more are to be kept."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Whatever needs the table waits as long.
_BRIEFLY = "set local lock_timeout = '1s'"
_OWNED = "select pg_has_role(relowner, 'usage') from pg_class where oid = %s::regclass"
_ALL = """
select child.relname, pg_get_expr(child.relpartbound, child.oid)
from pg_inherits join pg_class child on child.oid = inhrelid
where inhparent = %s::regclass
"""
_BOUNDS = re.compile(r"FROM \('?([^')]+)'?\) TO \('?([^')]+)'?\)")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Partitioning:
    """How a table is partitioned.

    Attributes:
        table: its name. Its primary key is `id`.
        days: what a partition covers.
        guard: is executed for each new partition, whose name replaces `{}`.
    """

    table: str
    days: int
    guard: str = ""


@dataclass(frozen=True)
class Partition:
    """An existing partition.

    Attributes:
        begins: the first time; None for the default one, and for the oldest.
        ends: the first time after it; None for the default one.
    """

    name: str
    begins: datetime | None
    ends: datetime | None

    def overlaps(self, begins: datetime, ends: datetime) -> bool:
        """Whether it covers a part of that time."""
        return self.ends is not None and begins < self.ends and (self.begins is None or self.begins < ends)


def partitions_of(connection: ReadConnection, table: str) -> list[Partition]:
    """Every partition of the table."""
    found = connection.execute(_ALL, [table]).fetchall()
    return [Partition(name, *_times(bounds)) for name, bounds in found]


def maintain(database: Database, partitioning: Partitioning, since: str, age: timedelta) -> list[str]:
    """Make the next partitions and drop those whose rows are all older than `age`, by the clock of the database.

    What cannot be done now, because the table is in use, is left to the next run. If another role owns the table,
    nothing is made or dropped.

    Args:
        since: the column with the time that counts.

    Returns:
        The partitions to delete old rows from: those that will not be dropped.
    """
    table = partitioning.table
    now: datetime = database.read(lambda primary: _value(primary, "select now()"), fresh=True)
    cutoff = now - age
    owned = database.read(lambda primary: _value(primary, _OWNED, table), fresh=True)
    if owned:
        for begins, ends in _periods(now, partitioning.days):
            _carefully(database, table, lambda one, of=(begins, ends): make(one, partitioning, *of))
        for partition in _dropped_by(database, table, cutoff):
            _carefully(database, table, lambda one, old=partition: _drop(one, table, old, since, cutoff))
    partitions = database.read(lambda primary: partitions_of(primary, table), fresh=True)
    return [one.name for one in partitions if not owned or one.begins is None or one.begins > cutoff]


def make(connection: ReadConnection, partitioning: Partitioning, begins: datetime, ends: datetime) -> None:
    """Make a partition, unless there is one for a part of that time, or the default one has rows of it."""
    table = partitioning.table
    if any(one.overlaps(begins, ends) for one in partitions_of(connection, table)):
        return
    names = {"table": sql.Identifier(table), "default": sql.Identifier(f"{table}_default")}
    bounds = {"begins": sql.Literal(str(first_id(begins))), "ends": sql.Literal(str(first_id(ends)))}
    taken = sql.SQL("select exists (select from {default} where id >= {begins} and id < {ends})")
    if _value(connection, taken.format(**names, **bounds)):
        return
    new = sql.Identifier(f"{table}_{begins:%Y%m%d}")
    create = sql.SQL("create table {new} partition of {table} for values from ({begins}) to ({ends})")
    connection.execute(create.format(new=new, **names, **bounds))
    if partitioning.guard:
        connection.execute(partitioning.guard.format(new.as_string(connection)).encode())


def _drop(connection: ReadConnection, table: str, partition: Partition, since: str, cutoff: datetime) -> None:
    """Drop it. Rows that are to be kept go to the default partition: those of messages that waited for weeks."""
    names = {"table": sql.Identifier(table), "old": sql.Identifier(partition.name), "since": sql.Identifier(since)}
    values = {"cutoff": sql.Literal(cutoff), "most": sql.Literal(_MOST_MOVED + 1)}
    connection.execute(sql.SQL("lock table {table} in access exclusive mode").format(**names))
    kept = sql.SQL("select count(*) from (select from {old} where {since} >= {cutoff} limit {most}) kept")
    if _value(connection, kept.format(**names, **values)) > _MOST_MOVED:
        return
    for statement in (
        "alter table {table} detach partition {old}",
        "insert into {table} select * from {old} where {since} >= {cutoff}",
        "drop table {old}",
    ):
        connection.execute(sql.SQL(statement).format(**names, **values))
    log.info("partition dropped", partition=partition.name)


def _carefully(database: Database, table: str, change: Any) -> None:
    """Change it in a transaction that holds up nobody for long. Another process may have been faster."""
    try:
        with database.transaction() as connection:
            driver = driver_of(connection)
            driver.execute(_BRIEFLY)
            change(driver)
    except (DatabaseAway, psycopg.errors.DuplicateTable, psycopg.errors.CheckViolation) as error:
        log.info("partitions left to the next run", table=table, reason=type(error).__name__)


def _dropped_by(database: Database, table: str, cutoff: datetime) -> list[Partition]:
    partitions = database.read(lambda primary: partitions_of(primary, table), fresh=True)
    return [one for one in partitions if one.begins and one.ends and one.ends <= cutoff]


def _periods(now: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
    """That of now and the next ones."""
    length = timedelta(days=days)
    begins = _EPOCH + (now - _EPOCH) // length * length
    for number in range(_AHEAD):
        yield begins + number * length, begins + (number + 1) * length


def first_id(at: datetime) -> UUID:
    """The smallest UUIDv7 of that time, and of every later one."""
    return UUID(int=(at - _EPOCH) // timedelta(milliseconds=1) << 80)


def _times(bounds: str) -> tuple[datetime | None, datetime | None]:
    found = _BOUNDS.search(bounds)
    return (_time(found[1]), _time(found[2])) if found else (None, None)


def _time(bound: str) -> datetime | None:
    return None if bound == "MINVALUE" else _EPOCH + timedelta(milliseconds=UUID(bound).int >> 80)


def _value(connection: ReadConnection, question: Any, *parameters: object) -> Any:
    found = connection.execute(question, parameters or None).fetchone()
    return found[0] if found else None
