"""The table `dead_letters`: messages that no handler could process, until an operator settles them.

Guarantee: a message that is given up is recorded here, and its operation as `failed`, in one transaction. It
is recorded once, however often that is tried: each failure has a number, and recording a known
number changes nothing. A replay contains the number of earlier failures, so its own failure is a new one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from psycopg.rows import args_row
from sqlalchemy.dialects.postgresql import JSONB, insert
from uuid_utils.compat import uuid7

from backend.kernel.delivery import outbox
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.observe.logging import traceback_of
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.tables import metadata

_BACKLOG = """
select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8,
       (select count(*) from dead_letters where status = 'open'),
       (select count(*) from pg_stat_activity
        where wait_event = 'SyncRep' and query_start < clock_timestamp() - interval '5 seconds')
from outbox
"""


class Reason(StrEnum):
    """Why a message is a dead letter."""

    FAULT = "fault"  # its handler failed at its last attempt
    UNDECODABLE = "undecodable"  # the body is not the message that its name promises
    EXPIRED = "expired"  # so old that the inbox may have forgotten whether it took effect
    UNKNOWN_TASK = "unknown_task"  # no handler has this name
    MALFORMED = "malformed"  # it is no task
    DELIVERY_LIMIT = "delivery_limit"  # it killed its worker at each delivery
    REJECTED = "rejected"  # the worker rejected it
    FORGED = "forged"  # none of our processes wrote it, so it changes no operation
    UNKNOWN_KEY = "unknown_key"  # written with a key that no process has, so it changes no operation either


class State(StrEnum):
    """What an operator did about a dead letter."""

    OPEN = "open"  # nothing yet
    REPLAYED = "replayed"  # delivered again
    DISCARDED = "discarded"  # settled without a replay


dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("message_id", sa.Uuid, nullable=False, unique=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("traceback", JSONB, nullable=False),
    sa.Column("headers", JSONB, nullable=False),
    sa.Column("body", JSONB(none_as_null=True)),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("first_dead_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("last_dead_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default=State.OPEN),
    sa.Column("note", sa.Text),
    sa.CheckConstraint("status in ('open', 'replayed', 'discarded')", name="status"),
    sa.Index(None, "last_dead_at"),
    sa.Index(None, "request_id"),
    sa.Index("dead_letters_open_idx", "task", "reason", "error", postgresql_where=sa.text("status = 'open'")),
)


@dataclass(frozen=True)
class DeadLetter:
    """A message, and why it is not delivered again.

    Attributes:
        envelope: its body is empty if it could not be decoded.
        error: the type of the exception, never its text, which may contain values.
        traceback: each exception of the chain with its frames.
        detail: what the caller is told of the fault; empty in production.
        raw: the bytes of the body if it could not be decoded.
        has_operation: whether it is a message of ours, which has an operation.
        foreign: the headers of a message that is not ours.
    """

    envelope: Envelope
    reason: Reason
    error: str = ""
    traceback: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    raw: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    detail: str = field(default="", repr=False)
    has_operation: bool = True
    foreign: Mapping[str, Any] | None = field(default=None, repr=False)


def of_fault(envelope: Envelope, reason: Reason, error: BaseException | None, *, with_text: bool = False) -> DeadLetter:
    """The dead letter of a message that its handler could not process.

    Args:
        with_text: whether texts of exceptions are shown: in development.
    """
    if error is None:
        return DeadLetter(envelope, reason)
    links = traceback_of(error, with_text=with_text)
    described = links[0]["type"]
    return DeadLetter(envelope, reason, described.partition(":")[0], links, detail=described if with_text else "")


def record(connection: sa.Connection, letter: DeadLetter) -> None:
    """Record the dead letter as open, unless this failure of the message is recorded already."""
    envelope = letter.envelope
    headers, body = storable(_headers(letter)), storable(envelope.body)
    died = {
        "reason": letter.reason,
        "error": letter.error,
        "traceback": list(letter.traceback),
        "headers": headers,
        "times": envelope.headers.replay + 1,
    }
    statement = insert(dead_letters).values(
        id=uuid7(),
        message_id=envelope.id,
        task=storable(envelope.name),
        lane=envelope.lane,
        body=body if letter.raw is None else None,
        raw=letter.raw,
        content_type=letter.content_type,
        request_id=request_id if isinstance(request_id := headers.get("request_id"), str) else None,
        **died,
    )
    again = {**died, "status": State.OPEN, "note": None, "last_dead_at": sa.func.clock_timestamp()}
    recorded = dead_letters.c.times >= statement.excluded.times
    connection.execute(statement.on_conflict_do_update(index_elements=["message_id"], set_=again, where=~recorded))


def _headers(letter: DeadLetter) -> Mapping[str, Any]:
    return letter.envelope.headers.as_json() if letter.foreign is None else letter.foreign


def storable(value: Any) -> Any:
    """The value as PostgreSQL can store it in JSON. What it cannot store, such as NUL, is replaced."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return value.isoformat() if isinstance(value, date) else storable(str(value))


def backlog(connection: ReadConnection) -> outbox.Backlog:
    """The backlog of the outbox, and the numbers of open dead letters and of commits that wait."""
    found = connection.cursor(row_factory=args_row(outbox.Backlog)).execute(_BACKLOG).fetchone()
    if found is None:
        raise AssertionError("an aggregate without GROUP BY has one row")
    return found


RETENTION = Retention(dead_letters.c.last_dead_at, timedelta(days=14))
"""Shorter than the inbox's: a replay after the inbox row is deleted would take effect twice."""
