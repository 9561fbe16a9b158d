"""Retention: for how long rows are kept, and the purge that deletes older ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from backend.kernel.postgres import partitions
from backend.kernel.postgres.database import Database

_BATCH = 1000


@dataclass(frozen=True)
class Retention:
    """For how long the rows of a table are kept.

    Attributes:
        since: the column with the time that counts.
        age: rows older than this are deleted.
        only: which rows; all by default.
        before: a statement that runs first in the transaction of each deletion.
        partition_days: the table is partitioned by the time in its ids, and a partition covers so many days. Rows are
            kept until their partition is dropped, so up to this much longer.
        partition_guard: see `Partitioning`.
    """

    since: sa.Column[object]
    age: timedelta
    only: sa.ColumnElement[bool] | None = None
    before: sa.Executable | None = None
    partition_days: int = 0
    partition_guard: str = ""

    @property
    def table(self) -> sa.Table:
        """The table.

        Raises:
            TypeError: the column belongs to none.
        """
        if not isinstance(self.since.table, sa.Table):
            raise TypeError(f"{self.since} belongs to no table")
        return self.since.table


def purge(database: Database, retentions: Iterable[Retention], batch: int = _BATCH) -> int:
    """Delete what is past its retention, one batch per transaction; returns how many rows.

    Partitions are created in advance and dropped; the rows of dropped ones are not counted.
    """
    return sum(
        _purge(database, retention, table, batch) for retention in retentions for table in _tables(database, retention)
    )


def _tables(database: Database, retention: Retention) -> list[sa.Table]:
    """What to delete rows from."""
    table, days = retention.table, retention.partition_days
    if not days:
        return [table]
    partitioning = partitions.Partitioning(table.name, days, retention.partition_guard)
    names = partitions.maintain(database, partitioning, retention.since.name, retention.age)
    return [table.to_metadata(sa.MetaData(), name=name) for name in names]


def _purge(database: Database, retention: Retention, table: sa.Table, batch: int) -> int:
    total = 0
    while True:
        with database.transaction() as connection:
            gone = _delete(connection, retention, table, batch)
        total += gone
        if gone < batch:
            return total


def _delete(connection: sa.Connection, retention: Retention, table: sa.Table, batch: int) -> int:
    # By their place: each primary key would be looked up in an index that is too large to be in memory.
    place: sa.ColumnElement[object] = sa.literal_column("ctid")
    conditions = [table.c[retention.since.name] < sa.func.now() - retention.age]
    if retention.only is not None:
        conditions.append(retention.only)
    if retention.before is not None:
        connection.execute(retention.before)
    old = sa.select(place).select_from(table).where(*conditions).limit(batch).scalar_subquery()
    return connection.execute(table.delete().where(place == sa.any_(sa.func.array(old)))).rowcount
