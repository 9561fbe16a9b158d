"""The table `audit_log`: who did what, to whom, from where, and with what outcome.

Guarantee: a command's entry is written in the transaction of its effect, so either both exist or
neither. A refusal has an entry as well, beside its outcome. PostgreSQL itself refuses to change
or delete entries (migrations/kernel/0001_audit_append_only.sql), except in the purge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.paging import Page, page_of
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.statements import Statement, run_rows
from backend.kernel.postgres.tables import metadata

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("actor", sa.Uuid),
    sa.Column("replayed_by", sa.Uuid),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("about", sa.Uuid),
    sa.Column("detail", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("ip", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Index(None, "at", "id"),
    sa.Index(None, "actor", "at", "id"),
    sa.Index(None, "about", "at", "id"),
    sa.Index(None, "action", "at", "id"),
    sa.Index(None, "outcome", "at", "id", postgresql_where=sa.text("outcome <> 'succeeded'")),
    sa.Index(None, "request_id"),
    postgresql_partition_by="RANGE (id)",
)
_INSERT = """
insert into audit_log (id, actor, replayed_by, action, about, detail, reason, outcome, ip, request_id)
select id, actor, replayed_by, action, about, detail, reason, outcome, ip, request_id
from jsonb_to_recordset(%(rows)s) as
    new (id uuid, actor uuid, replayed_by uuid, action text, about uuid, detail text, reason text, outcome text,
        ip text, request_id text)
"""


_SUCCEEDED = "succeeded"


@dataclass(frozen=True)
class AuditEntry:
    """One action, done or refused.

    Attributes:
        actor: the signed-in user who asked; None for an anonymous caller.
        replayed_by: the administrator who replayed the dead letter, with whose authority it was processed.
        action: the handler's name, such as `users.delete_user`.
        about: the user or resource concerned, if known.
        detail: what else was concerned.
        reason: why, in the words of the operator who did it; None where none is asked for.
        outcome: `succeeded`, or the code of the problem.
        ip: of the request, as far as proxies are trusted; `user@host` of an operator at the command line.
    """

    id: UUID
    at: datetime
    actor: UUID | None
    replayed_by: UUID | None
    action: str
    about: UUID | None
    detail: str | None
    reason: str | None
    outcome: str
    ip: str | None
    request_id: str | None


Row = Mapping[str, Any]


def write(connection: sa.Connection, action: str, about: UUID | None, outcome: str, detail: str = "") -> None:
    """Add an entry; actor, address and request are those of the current origin."""
    write_all(connection, [row_of(action, about, outcome, detail)])


def write_all(connection: sa.Connection, entries: Sequence[Row]) -> None:
    """Add entries."""
    run_rows(connection, _INSERT, entries)


def row_of(action: str, about: UUID | None, outcome: str, detail: str = "", reason: str = "") -> Row:
    """An entry to write; actor, address and request are those of the current origin."""
    context = current_origin.get()
    return {
        "id": uuid7(),
        "actor": context.actor,
        "replayed_by": context.replayed_by,
        "action": action,
        "about": about,
        "detail": detail or None,
        "reason": reason or None,
        "outcome": outcome,
        "ip": context.ip or None,
        "request_id": context.request_id or None,
    }


def subject(kind: type[Any], fields: Mapping[str, Any]) -> UUID | None:
    """The id that a message is about: its first field named `…_id`, if that is an id."""
    name = next((name for name in kind.__dataclass_fields__ if name.endswith("_id")), "")
    value = fields.get(name)
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        return None


def entries(
    connection: ReadConnection, limit: int, after: tuple[Any, ...] | None = None, **filters: Any
) -> Page[AuditEntry]:
    """A page of the entries that match every filter, newest first.

    Args:
        filters: `actor`, `action`, `about`, `outcome`, `request_id`: exactly this;
            `since`: not before; `until`: before.
    """
    if after:
        filters["after_at"], filters["after_id"] = after
    refused = {"refused"} if filters.get("outcome", _SUCCEEDED) != _SUCCEEDED else set()
    rows = _listing(frozenset(filters) | refused, limit + 1).all(connection, **filters)
    return page_of(rows, limit, lambda entry: (entry.at.isoformat(), str(entry.id)))


RETENTION = Retention(
    audit_log.c.at,
    timedelta(days=400),  # a year, and some time to investigate
    before=sa.select(sa.func.set_config("audit_log.purging", "on", True)),
    partition_days=30,
    partition_guard="create trigger audit_log_is_not_truncated before truncate on {}"
    " for each statement execute function audit_log_only_grows()",
)


@lru_cache(256)
def _listing(given: frozenset[str], rows: int) -> Statement[AuditEntry]:
    """One statement per combination of filters and number of rows; see `delivery/operations.py`."""
    columns = audit_log.c
    place = sa.tuple_(columns.at, columns.id)
    after = sa.tuple_(sa.bindparam("after_at", type_=columns.at.type), sa.bindparam("after_id", type_=columns.id.type))
    conditions = {
        **{name: columns[name] == sa.bindparam(name) for name in ("actor", "action", "about", "outcome", "request_id")},
        "refused": columns.outcome != sa.literal_column(f"'{_SUCCEEDED}'"),  # as the condition of the index says it
        "since": columns.at >= sa.bindparam("since"),
        "until": columns.at < sa.bindparam("until"),
        "after_at": place < after,
    }
    select = (
        sa.select(*(columns[name] for name in AuditEntry.__dataclass_fields__))
        .where(*(condition for name, condition in conditions.items() if name in given))
        .order_by(columns.at.desc(), columns.id.desc())
        .limit(sa.literal_column(str(rows)))
    )
    return Statement(select, AuditEntry)
