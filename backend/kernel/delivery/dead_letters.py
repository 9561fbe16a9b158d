"""The `dead_letters` table: messages that nobody could carry out, until an operator settles them.

Guarantee: a message that is given up is here, and its operation `failed`, in one transaction. It
is here once however often it is recorded: each death has a number, and one that is already known
changes nothing. A replay carries the number of deaths before it, so its own death is a new one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from uuid_utils.compat import uuid7

from backend.contexts.operators.application.dead_letters import (
    DeadLetterNotFound,
    DeadLetterSettled,
    Group,
    NotReplayable,
    Replayed,
)
from backend.kernel.delivery import outbox
from backend.kernel.delivery.inbox import operations
from backend.kernel.delivery.sealing import masked
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Envelope
from backend.kernel.messages.paging import Page, page_of
from backend.kernel.observe.logging import traceback_of
from backend.kernel.postgres.database import ReadConnection, Statement, metadata

FAULT = "fault"
UNDECODABLE = "undecodable"
UNKNOWN_TASK = "unknown_task"
MALFORMED = "malformed"
DELIVERY_LIMIT = "delivery_limit"
REJECTED = "rejected"
REASONS = (FAULT, UNDECODABLE, UNKNOWN_TASK, MALFORMED, DELIVERY_LIMIT, REJECTED)
"""A handler's fault after its last try; a body that is not the message its name promises; a name
no handler has; no task at all; a message that killed its worker each time; refused by the worker."""

OPEN, REPLAYED, DISCARDED = STATUSES = ("open", "replayed", "discarded")

_RETENTION_DAYS = 14
"""Shorter than the inbox's: a replay of what the inbox has forgotten would be done twice."""
_MOST_GROUPS = 100
_NOT_REPLAYED = ("attempts", "waiting")
"""Headers of the delivery that failed: its replay has tries of its own, and nobody waits for it."""

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
    sa.Column("status", sa.Text, nullable=False, server_default=OPEN),
    sa.Column("note", sa.Text),
    sa.CheckConstraint("status in ('open', 'replayed', 'discarded')", name="status"),
    sa.Index(None, "last_dead_at"),
    sa.Index(None, "request_id"),
    sa.Index("dead_letters_open_idx", "task", "reason", "error", postgresql_where=sa.text("status = 'open'")),
)


@dataclass(frozen=True)
class DeadLetter:
    """A message, and why nobody will be given it again.

    Attributes:
        envelope: its body is empty when nobody could read it.
        error: the fault's type, never its text: that may hold values.
        traceback: the fault's frames, without values.
        raw: the body's bytes when nobody could read it.
        has_operation: whether it is a message of ours, for whose outcome somebody may ask.
    """

    envelope: Envelope
    reason: str
    error: str = ""
    traceback: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    raw: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    has_operation: bool = True


@dataclass(frozen=True)
class DeadLetterSummary:
    """A dead letter in a listing.

    Attributes:
        message_id: the operation's id, too.
        times: how often it died: once, and once more per failed replay.
        note: why it was discarded.
    """

    id: UUID
    message_id: UUID
    task: str
    lane: str
    reason: str
    error: str
    status: str
    times: int
    first_dead_at: datetime
    last_dead_at: datetime
    note: str | None
    request_id: str | None


@dataclass(frozen=True)
class DeadLetterView(DeadLetterSummary):
    """All there is to see of a dead letter.

    Attributes:
        body: its fields, secrets masked; None when nobody could read it.
        raw: then its bytes, in base64.
        operation: the status of its operation at present.
    """

    headers: dict[str, Any]
    body: dict[str, Any] | None
    raw: str | None
    content_type: str
    traceback: list[dict[str, Any]]
    operation: str | None


@dataclass(frozen=True)
class DeadLetterGroup:
    """Dead letters with the same task, reason and error."""

    task: str
    reason: str
    error: str
    number: int
    first_dead_at: datetime
    last_dead_at: datetime


def of_fault(envelope: Envelope, reason: str, error: BaseException | None) -> DeadLetter:
    """The dead letter of a message that its handler could not carry out."""
    links = traceback_of(error) if error is not None else []
    return DeadLetter(envelope, reason, links[0]["type"].partition(":")[0] if links else "", links)


def record(connection: sa.Connection, letter: DeadLetter) -> None:
    """Write the dead letter, open, unless this death of the message is known."""
    envelope = letter.envelope
    headers, body = storable(envelope.headers), storable(envelope.body)
    died = {
        "reason": letter.reason,
        "error": letter.error,
        "traceback": list(letter.traceback),
        "headers": headers,
        "times": deaths_before(envelope) + 1,
    }
    statement = insert(dead_letters).values(
        id=uuid7(),
        message_id=envelope.id,
        task=storable(envelope.name),
        lane=envelope.queue,
        body=body if letter.raw is None else None,
        raw=letter.raw,
        content_type=letter.content_type,
        request_id=headers.get("request_id"),
        **died,
    )
    again = {**died, "status": OPEN, "note": None, "last_dead_at": sa.func.clock_timestamp()}
    known = dead_letters.c.times >= statement.excluded.times
    connection.execute(statement.on_conflict_do_update(index_elements=["message_id"], set_=again, where=~known))


def deaths_before(envelope: Envelope) -> int:
    """How often the message had died when it was sent: 0 unless this is a replay."""
    before = envelope.headers.get("replay")
    return before if isinstance(before, int) else 0


def storable(value: Any) -> Any:
    """The value as PostgreSQL can keep it in JSON: what it cannot, NUL above all, is replaced."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return value.isoformat() if isinstance(value, date) else storable(str(value))


class SqlDeadLetters:
    """`DeadLetters` within one unit of work.

    Args:
        lanes: the queue of each task there is.
    """

    def __init__(self, unit: UnitOfWork, lanes: Mapping[str, str]) -> None:
        self._unit = unit
        self._lanes = lanes

    def replay(self, dead_letter_id: UUID) -> None:
        """Through the outbox, so that it is not lost."""
        row = self._locked(dead_letter_id)
        if row.body is None or row.task not in self._lanes:
            raise NotReplayable
        self._send([row])

    def replay_group(self, group: Group, limit: int) -> Replayed:
        """Those that another order holds at this moment are left to it."""
        matching = _matching(group)
        replayable = dead_letters.c.body.is_not(None), dead_letters.c.task.in_(list(self._lanes))
        some = sa.select(dead_letters).where(*matching, *replayable).order_by(dead_letters.c.first_dead_at).limit(limit)
        rows = self._unit.connection.execute(some.with_for_update(skip_locked=True)).all()
        if rows:
            self._send(rows)
        remaining = self._unit.connection.scalar(sa.select(sa.func.count()).where(*matching))
        return Replayed(len(rows), remaining or 0)

    def discard(self, dead_letter_id: UUID, reason: str) -> None:
        """Only an open one."""
        if self._locked(dead_letter_id).status != OPEN:
            raise DeadLetterSettled
        self._settle([dead_letter_id], status=DISCARDED, note=reason)

    def _locked(self, dead_letter_id: UUID) -> Any:
        one = sa.select(dead_letters).where(dead_letters.c.id == dead_letter_id).with_for_update()
        row = self._unit.connection.execute(one).first()
        if row is None:
            raise DeadLetterNotFound
        return row

    def _send(self, rows: Sequence[Any]) -> None:
        statement = insert(outbox.outbox).values(
            [
                {
                    "id": row.message_id,
                    "aggregate": f"replay:{row.message_id}",
                    "queue": self._lanes[row.task],
                    "name": row.task,
                    "body": row.body,
                    "headers": _headers_of_replay(row),
                }
                for row in rows
            ]
        )
        # An earlier copy that waits there still, spooled or clicked before, becomes this one.
        replayed = {"headers": statement.excluded.headers, "body": statement.excluded.body}
        self._unit.connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=replayed))
        self._settle([row.id for row in rows], status=REPLAYED, note=None)

    def _settle(self, ids: Sequence[UUID], **values: Any) -> None:
        self._unit.connection.execute(dead_letters.update().where(dead_letters.c.id.in_(ids)).values(**values))


def _headers_of_replay(row: Any) -> dict[str, Any]:
    kept = {name: value for name, value in row.headers.items() if name not in _NOT_REPLAYED}
    return {**kept, "replay": row.times}


def _matching(group: Group) -> list[sa.ColumnElement[bool]]:
    asked = {name: value for name, value in vars(group).items() if value is not None}
    return [dead_letters.c.status == OPEN, *(dead_letters.c[name] == value for name, value in asked.items())]


_SUMMARY = [dead_letters.c[name] for name in DeadLetterSummary.__dataclass_fields__]
_ONE = Statement(
    sa.select(
        *_SUMMARY,
        dead_letters.c.headers,
        dead_letters.c.body,
        sa.func.translate(sa.func.encode(dead_letters.c.raw, "base64"), "\n", "").label("raw"),
        dead_letters.c.content_type,
        dead_letters.c.traceback,
        operations.c.status.label("operation"),
    )
    .outerjoin_from(dead_letters, operations, operations.c.id == dead_letters.c.message_id)
    .where(dead_letters.c.id == sa.bindparam("dead_letter_id", type_=sa.Uuid)),
    DeadLetterView,
)


def dead_letter(connection: ReadConnection, dead_letter_id: UUID) -> DeadLetterView:
    """One dead letter.

    Raises:
        DeadLetterNotFound: there is none.
    """
    found = _ONE.one(connection, dead_letter_id=dead_letter_id)
    if found is None:
        raise DeadLetterNotFound
    return replace(found, body=masked(found.body), headers=masked(found.headers))


def listing(
    connection: ReadConnection, limit: int, after: tuple[Any, ...] | None = None, **filters: str
) -> Page[DeadLetterSummary]:
    """A page of the dead letters that match every filter, the latest first death first.

    Args:
        filters: `task`, `status`, `reason`, `error`, `request_id`: exactly this.
    """
    parameters: dict[str, Any] = {**filters, "after": after[0]} if after else {**filters}
    rows = _listing(frozenset(parameters)).all(connection, limit=limit + 1, **parameters)
    return page_of(rows, limit, lambda letter: (str(letter.id),))


def groups(connection: ReadConnection, **filters: str) -> list[DeadLetterGroup]:
    """The dead letters by task, reason and error, the largest groups first; at most 100 groups."""
    return _groups(frozenset(filters)).all(connection, **filters)


def backlog(connection: ReadConnection) -> outbox.Backlog:
    """The outbox's, and how many dead letters wait for an operator."""
    waiting = connection.execute("select count(*) from dead_letters where status = 'open'").fetchone()
    return replace(outbox.backlog(connection), dead_letters=waiting[0] if waiting else 0)


def purge(connection: sa.Connection, batch: int) -> int:
    """Delete up to `batch` dead letters past their retention; returns how many went."""
    old = (
        sa.select(dead_letters.c.id)
        .where(dead_letters.c.last_dead_at < sa.func.now() - sa.func.make_interval(0, 0, 0, _RETENTION_DAYS))
        .limit(batch)
    )
    return connection.execute(dead_letters.delete().where(dead_letters.c.id.in_(old))).rowcount


@cache
def _listing(given: frozenset[str]) -> Statement[DeadLetterSummary]:
    """One statement per combination of filters: PostgreSQL plans each for what it asks."""
    newest = dead_letters.c.id.desc()  # it holds the time of the first death (UUIDv7)
    select = sa.select(*_SUMMARY).where(*_conditions(given)).order_by(newest)
    return Statement(select.limit(sa.bindparam("limit", type_=sa.Integer)), DeadLetterSummary)


@cache
def _groups(given: frozenset[str]) -> Statement[DeadLetterGroup]:
    columns = [dead_letters.c[name] for name in ("task", "reason", "error")]
    number = sa.func.count().label("number")
    select = sa.select(
        *columns,
        number,
        sa.func.min(dead_letters.c.first_dead_at).label("first_dead_at"),
        sa.func.max(dead_letters.c.last_dead_at).label("last_dead_at"),
    )
    grouped = select.where(*_conditions(given)).group_by(*columns).order_by(number.desc(), *columns)
    return Statement(grouped.limit(_MOST_GROUPS), DeadLetterGroup)


def _conditions(given: frozenset[str]) -> list[sa.ColumnElement[bool]]:
    names = ("task", "status", "reason", "error", "request_id")
    conditions = {name: dead_letters.c[name] == sa.bindparam(name) for name in names}
    conditions["after"] = dead_letters.c.id < sa.bindparam("after", type_=sa.Uuid)
    return [condition for name, condition in conditions.items() if name in given]
