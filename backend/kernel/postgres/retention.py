"""Retention: for how long rows are kept, and the purge that deletes older ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

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
    """

    since: sa.Column[object]
    age: timedelta
    only: sa.ColumnElement[bool] | None = None
    before: sa.Executable | None = None


def purge(database: Database, retentions: Iterable[Retention], batch: int = _BATCH) -> int:
    """Delete what is past its retention, one batch per transaction; returns how many rows."""
    return sum(_purge(database, retention, batch) for retention in retentions)


def _purge(database: Database, retention: Retention, batch: int) -> int:
    total = 0
    while True:
        with database.transaction() as connection:
            gone = _delete(connection, retention, batch)
        total += gone
        if gone < batch:
            return total


def _delete(connection: sa.Connection, retention: Retention, batch: int) -> int:
    table = retention.since.table
    if not isinstance(table, sa.Table):
        raise TypeError(f"{retention.since} belongs to no table")
    key = sa.tuple_(*table.primary_key.columns)
    conditions = [retention.since < sa.func.now() - retention.age]
    if retention.only is not None:
        conditions.append(retention.only)
    if retention.before is not None:
        connection.execute(retention.before)
    old = sa.select(*table.primary_key.columns).where(*conditions).limit(batch)
    return connection.execute(table.delete().where(key.in_(old))).rowcount
