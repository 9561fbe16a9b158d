"""Columns that Python computes from others of the same row, because PostgreSQL's folding of case depends on its locale.

The aggregate writes them with the row. Rows from before the columns, and those that a process of the release before
wrote meanwhile, get theirs here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg import sql

from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.statements import driver_of

_BATCH = 500
_FIRST = UUID(int=0)


@dataclass(frozen=True)
class SearchKeys:
    """The computed columns of a table whose primary key is `id`.

    Attributes:
        sources: the columns they are computed from.
        names: the computed columns.
        compute: takes the values of the sources; returns those of the computed columns, as PostgreSQL reads them.
    """

    table: str
    sources: tuple[str, ...]
    names: tuple[str, ...]
    compute: Callable[..., tuple[str, ...]]

    def rebuild(self, connection: sa.Connection) -> int:
        """Compute the columns of every row again, in batches; returns how many rows had others. Reads no row twice.

        Args:
            connection: in autocommit, so that no batch waits for the next one with its rows locked.
        """
        driver, last, changed = driver_of(connection), _FIRST, 0
        while rows := driver.execute(self._select, {"last": last}).fetchall():
            changed += self._write(driver, rows)
            last = rows[-1][0]
        return changed

    def _write(self, driver: ReadConnection, rows: Sequence[Sequence[Any]]) -> int:
        with driver.cursor() as cursor:
            cursor.executemany(self._update, [self._parameters(*row) for row in rows])
            return cursor.rowcount

    def _parameters(self, row_id: UUID, *values: str | None) -> Mapping[str, Any]:
        computed = zip(self.names, self.compute(*values), strict=True)
        return {"id": row_id, **dict(zip(self.sources, values, strict=True)), **dict(computed)}

    @property
    def _select(self) -> sql.Composed:
        return sql.SQL("select id, {} from {} where id > %(last)s order by id limit {}").format(
            _columns(self.sources), sql.Identifier(self.table), _BATCH
        )

    @property
    def _update(self) -> sql.Composed:
        """Not where the sources have changed since they were read: whoever changed them wrote the columns as well."""
        return sql.SQL(
            "update {} set ({}) = row({}) where id = %(id)s"
            " and {} is not distinct from row({}) and {} is distinct from row({})"
        ).format(
            sql.Identifier(self.table),
            _columns(self.names),
            _values(self.names),
            _row(self.sources),
            _values(self.sources),
            _row(self.names),
            _values(self.names),
        )


def _columns(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _values(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Placeholder, names))


def _row(names: Sequence[str]) -> sql.Composed:
    return sql.SQL("row({})").format(_columns(names))
