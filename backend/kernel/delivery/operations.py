"""A listing of operations: those that have an outcome, and those that wait in the spool.

A message in the broker has no row: before a worker has finished it, only its handle names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from backend.kernel.delivery.inbox import operations
from backend.kernel.delivery.outbox import outbox
from backend.kernel.messages.paging import Page, page_of
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.statements import Statement

PENDING = "pending"
_RARE = frozenset({"status", "command", "resource"})
"""Filters with values that few of the operations have. A plan for any value would read all of them, newest first."""


@dataclass(frozen=True)
class ListedOperation:
    """An operation of a listing.

    Attributes:
        at: its place in the listing: when it was finished, or spooled.
    """

    id: UUID
    name: str
    status: str
    fingerprint: str | None
    resource: str | None
    problem: dict[str, Any] | None
    request_id: str | None
    actor: UUID | None
    accepted_at: datetime | None
    finished_at: datetime | None
    at: datetime


def listed(
    connection: ReadConnection,
    commands: Sequence[str],
    limit: int,
    after: tuple[Any, ...] | None = None,
    **filters: Any,
) -> Page[ListedOperation]:
    """A page of the operations that match every filter, newest first.

    Args:
        commands: the wire names of commands: the inbox also holds what subscribers processed.
        filters: `id`, `status`, `command`, `resource`, `actor`, `request_id`: exactly this; `since`: not before;
            `until`: before.
    """
    if after:
        filters["after_at"], filters["after_id"] = after
    rows = _listing(frozenset(filters), limit + 1).all(connection, commands=list(commands), **filters)
    return page_of(rows, limit, lambda one: (one.at.isoformat(), str(one.id)))


@lru_cache(256)
def _listing(given: frozenset[str], rows: int) -> Statement[ListedOperation]:
    """One statement per combination of filters and number of rows, so that PostgreSQL plans each once.

    As a parameter, the number would count as a tenth of the table: no cached plan would look good, and planning for
    every partition takes longer than reading the page.
    """
    limit: sa.ColumnElement[int] = sa.literal_column(str(rows))
    headers = outbox.c.headers
    null = sa.null()
    finished = sa.select(
        *(operations.c[name] for name in ListedOperation.__dataclass_fields__ if name != "at"),
        operations.c.finished_at.label("at"),
    ).where(operations.c.cause.is_(None))
    spooled = sa.select(
        outbox.c.id,
        outbox.c.name,
        sa.literal_column(f"'{PENDING}'").label("status"),
        headers["fingerprint"].astext.label("fingerprint"),
        headers["resource"].astext.label("resource"),
        sa.cast(null, operations.c.problem.type).label("problem"),
        headers["request_id"].astext.label("request_id"),
        sa.cast(headers["actor"].astext, sa.Uuid).label("actor"),
        sa.cast(headers["accepted_at"].astext, operations.c.accepted_at.type).label("accepted_at"),
        sa.cast(null, operations.c.finished_at.type).label("finished_at"),
        outbox.c.created_at.label("at"),
    ).where(
        headers["spooled"].astext == "true",
        ~sa.exists().where(operations.c.id == outbox.c.id),
    )
    parts = [_first(select, given, limit) for select in (finished, spooled)]
    both = sa.union_all(*(sa.select(part) for part in parts)).subquery()
    select = sa.select(both).order_by(both.c.at.desc(), both.c.id.desc()).limit(limit)
    return Statement(select, ListedOperation, plan_each=bool(given & _RARE))


def _first(select: sa.Select[Any], given: frozenset[str], limit: sa.ColumnElement[int]) -> sa.Subquery:
    """As many rows as a page takes, so that neither table is read further."""
    columns = select.selected_columns
    after = sa.tuple_(
        sa.bindparam("after_at", type_=operations.c.finished_at.type), sa.bindparam("after_id", type_=sa.Uuid)
    )
    conditions = {
        "id": columns.id == sa.bindparam("id", type_=sa.Uuid),
        "status": columns.status == sa.bindparam("status", type_=sa.Text),
        "command": columns.name == sa.bindparam("command", type_=sa.Text),
        "resource": columns.resource == sa.bindparam("resource", type_=sa.Text),
        "actor": columns.actor == sa.bindparam("actor", type_=sa.Uuid),
        "request_id": columns.request_id == sa.bindparam("request_id", type_=sa.Text),
        "since": columns.at >= sa.bindparam("since", type_=operations.c.finished_at.type),
        "until": columns.at < sa.bindparam("until", type_=operations.c.finished_at.type),
        "after_at": sa.tuple_(columns.at, columns.id) < after,
    }
    return (
        select.where(columns.name == sa.any_(sa.bindparam("commands", type_=ARRAY(sa.Text))))
        .where(*(condition for name, condition in conditions.items() if name in given))
        .order_by(columns.at.desc(), columns.id.desc())
        .limit(limit)
        .subquery()
    )
