"""Statements that run on psycopg itself: Core selects compiled once, and the kernel's fixed SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, LiteralString, TypeVar, cast

import msgspec
import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow, args_row
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql

from backend.kernel.postgres.database import ReadConnection

V = TypeVar("V")
Row = dict[str, Any]


def run(connection: sa.Connection, sql: LiteralString, parameters: Mapping[str, Any]) -> psycopg.Cursor[TupleRow]:
    """Run a fixed statement in the connection's transaction, on psycopg itself: every message pays for the kernel's
    writes, and SQLAlchemy's execution costs more than the round trip.

    Raises:
        psycopg.Error: not wrapped by SQLAlchemy.
    """
    return driver_of(connection).execute(sql, parameters)


def run_rows(
    connection: sa.Connection, sql: LiteralString, rows: Sequence[Mapping[str, Any]]
) -> psycopg.Cursor[TupleRow]:
    """As `run`, for many rows, see `as_rows`: one execution costs a quarter of one for each row."""
    return run(connection, sql, as_rows(rows))


def as_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of a statement that selects its rows from `jsonb_to_recordset(%(rows)s)`.

    Args:
        rows: of JSON values, ids and times; bytes arrive in base 64.
    """
    return {"rows": Jsonb(rows, dumps=msgspec.json.encode)}


def driver_of(connection: sa.Connection) -> ReadConnection:
    """The psycopg connection underneath, in the same transaction."""
    return cast("ReadConnection", connection.connection.driver_connection)


class Statement(Generic[V]):
    """A Core select, compiled once, whose rows are read straight into the view `V`.

    The parameters are the select's `bindparam`s. It runs on psycopg itself: SQLAlchemy's execution
    costs more than the round trip (docs/adr/0003-reads-on-psycopg.md).

    Args:
        plan_each: PostgreSQL plans each execution for its values. It would cache one plan for all of them
            otherwise, and a plan that is good for frequent values is bad for rare ones.
    """

    def __init__(self, select: sa.Select[Any], view: type[V], *, plan_each: bool = False) -> None:
        compiled = select.compile(dialect=_DIALECT)
        self._sql = str(compiled).encode()
        self._defaults = {name: value for name, value in compiled.params.items() if value is not None}
        names = [column.name for column in select.selected_columns]
        if names != list(getattr(view, "__dataclass_fields__", ())):
            raise TypeError(f"the fields of {view.__name__} are not those of its select: {names}")
        self._row = args_row(view)
        self._prepare = False if plan_each else None

    def one(self, connection: ReadConnection, **parameters: Any) -> V | None:
        """The first row, or None."""
        return self._run(connection, parameters).fetchone()

    def all(self, connection: ReadConnection, **parameters: Any) -> list[V]:
        """Every row."""
        return self._run(connection, parameters).fetchall()

    def _run(self, connection: ReadConnection, parameters: Row) -> psycopg.Cursor[V]:
        cursor = connection.cursor(row_factory=self._row)
        return cursor.execute(self._sql, {**self._defaults, **parameters}, prepare=self._prepare)


_DIALECT = cast("sa.Dialect", postgresql.psycopg.dialect())  # type: ignore[no-untyped-call]


def starts_with(text: str) -> str:
    """A LIKE pattern for texts that start with `text`, whatever characters it contains."""
    return text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
