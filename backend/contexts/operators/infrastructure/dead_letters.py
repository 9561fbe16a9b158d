"""Dead letters in PostgreSQL: queries and actions of operators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import structs
from sqlalchemy.dialects.postgresql import insert

from backend.contexts.operators.application.commands import Group, Replayed
from backend.contexts.operators.domain.errors import DeadLetterNotFound, DeadLetterSettled, NotReplayable
from backend.kernel.delivery import outbox
from backend.kernel.delivery.dead_letters import Reason, State, dead_letters
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.inbox import operations
from backend.kernel.delivery.sealing import Sealer, masked
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.paging import Page, page_of
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.statements import Statement

_MOST_GROUPS = 100
_HOURS = 24
_GROUPED = ("task", "reason", "error")
_UNPROVEN = (Reason.FORGED, Reason.UNKNOWN_KEY)
"""A message that does not prove its author is not sent again in our name."""


@dataclass(frozen=True)
class DeadLetterSummary:
    """A dead letter in a listing.

    Attributes:
        message_id: also the id of the operation.
        times: 1, plus 1 for each replay that failed.
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
    """A dead letter in full.

    Attributes:
        body: its fields, secrets masked; None if it could not be decoded.
        raw: the raw bytes in base64, if the body is None.
        operation: the current status of its operation.
    """

    headers: dict[str, Any]
    body: dict[str, Any] | None
    raw: str | None
    content_type: str
    traceback: list[dict[str, Any]]
    operation: str | None


@dataclass(frozen=True)
class _Group:
    task: str
    reason: str
    error: str
    number: int
    first_dead_at: datetime
    last_dead_at: datetime


@dataclass(frozen=True)
class DeadLetterGroup(_Group):
    """Dead letters with the same task, reason and error.

    Attributes:
        per_hour: how many failed last in each of the last 24 hours, the oldest first.
    """

    per_hour: list[int]


@dataclass(frozen=True)
class _Hour:
    task: str
    reason: str
    error: str
    ago: int
    number: int


class SqlDeadLetters:
    """`DeadLetters` within one unit of work.

    Args:
        lanes: the lane of each task there is.
        sealer: signs what is sent again.
    """

    def __init__(self, unit: UnitOfWork, lanes: Mapping[str, str], sealer: Sealer) -> None:
        self._unit = unit
        self._lanes = lanes
        self._sealer = sealer

    def replay(self, dead_letter_id: UUID) -> None:
        """Send it through the outbox, so that it cannot be lost."""
        row = self._locked(dead_letter_id)
        if row.body is None or row.task not in self._lanes or row.reason in _UNPROVEN:
            raise NotReplayable
        self._send([row])

    def replay_group(self, group: Group, limit: int) -> Replayed:
        """Skip those that another command has locked, and expired ones unless the group names them."""
        matching = _matching(group)
        doubtful = () if group.reason == Reason.EXPIRED else (Reason.EXPIRED,)
        replayable = (
            dead_letters.c.body.is_not(None),
            dead_letters.c.task.in_(list(self._lanes)),
            dead_letters.c.reason.not_in((*_UNPROVEN, *doubtful)),
        )
        some = sa.select(dead_letters).where(*matching, *replayable).order_by(dead_letters.c.first_dead_at).limit(limit)
        rows = self._unit.connection.execute(some.with_for_update(skip_locked=True)).all()
        if rows:
            self._send(rows)
        remaining = self._unit.connection.scalar(sa.select(sa.func.count()).where(*matching))
        self._unit.detail = _some_of(len(rows), group)
        return Replayed(len(rows), remaining or 0)

    def discard(self, dead_letter_id: UUID, reason: str) -> None:
        """Settle it, if it is open."""
        self._unit.reason = reason
        if self._locked(dead_letter_id).status != State.OPEN:
            raise DeadLetterSettled
        self._settle([dead_letter_id], status=State.DISCARDED, note=reason)

    def discard_group(self, group: Group, reason: str) -> int:
        """In one statement. What the group is, and how many they were, is in the audit log."""
        settled = dead_letters.update().where(*_matching(group)).values(status=State.DISCARDED, note=reason)
        number = self._unit.connection.execute(settled).rowcount
        self._unit.detail, self._unit.reason = _some_of(number, group), reason
        return number

    def _locked(self, dead_letter_id: UUID) -> Any:
        one = sa.select(dead_letters).where(dead_letters.c.id == dead_letter_id).with_for_update()
        row = self._unit.connection.execute(one).first()
        if row is None:
            raise DeadLetterNotFound
        return row

    def _send(self, rows: Sequence[Any]) -> None:
        envelopes = [
            self._sealer.signed(_again(row, self._lanes[row.task], current_origin.get().actor)) for row in rows
        ]
        statement = insert(outbox.outbox).values(
            [
                {
                    "id": envelope.id,
                    "aggregate": f"replay:{envelope.id}",
                    "queue": envelope.lane,
                    "name": envelope.name,
                    "body": envelope.body,
                    "headers": envelope.headers.as_json(),
                }
                for envelope in envelopes
            ]
        )
        # A copy that still waits in the outbox, spooled or replayed before, becomes this one.
        replayed = {"headers": statement.excluded.headers, "body": statement.excluded.body}
        self._unit.connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=replayed))
        self._settle([row.id for row in rows], status=State.REPLAYED, note=None)

    def _settle(self, ids: Sequence[UUID], **values: Any) -> None:
        self._unit.connection.execute(dead_letters.update().where(dead_letters.c.id.in_(ids)).values(**values))


def _again(row: Any, lane: str, actor: UUID | None) -> Envelope:
    """The message once more: its replay has attempts of its own, and nobody waits for it."""
    headers = structs.replace(
        Headers.parse(row.headers),
        attempts=0,
        timeouts=0,
        waiting=False,
        replay=row.times,
        replayed_at=datetime.now(UTC).isoformat(),
        replayed_by=actor,
    )
    return Envelope(row.message_id, row.task, lane, row.body, headers)


def _some_of(number: int, group: Group) -> str:
    return f"{number} of {' '.join(value for value in vars(group).values() if value)}"


def _matching(group: Group) -> list[sa.ColumnElement[bool]]:
    asked = {name: value for name, value in vars(group).items() if value is not None}
    return [dead_letters.c.status == State.OPEN, *(dead_letters.c[name] == value for name, value in asked.items())]


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
        DeadLetterNotFound: it does not exist.
    """
    found = _ONE.one(connection, dead_letter_id=dead_letter_id)
    if found is None:
        raise DeadLetterNotFound
    return replace(found, body=masked(found.body), headers=masked(found.headers))


def listing(
    connection: ReadConnection, limit: int, after: tuple[Any, ...] | None = None, **filters: str
) -> Page[DeadLetterSummary]:
    """A page of the dead letters that match every filter, the most recent first.

    Args:
        filters: `task`, `status`, `reason`, `error`, `request_id`: exactly this.
    """
    parameters: dict[str, Any] = {**filters, "after": after[0]} if after else {**filters}
    rows = _listing(frozenset(parameters)).all(connection, limit=limit + 1, **parameters)
    return page_of(rows, limit, lambda letter: (str(letter.id),))


def groups(connection: ReadConnection, **filters: str) -> list[DeadLetterGroup]:
    """The dead letters by task, reason and error, the largest groups first; at most 100 groups."""
    given = frozenset(filters)
    trends: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * _HOURS)
    for hour in _hours(given).all(connection, **filters):
        trends[hour.task, hour.reason, hour.error][_HOURS - 1 - hour.ago] = hour.number
    found = _groups(given).all(connection, **filters)
    return [DeadLetterGroup(**vars(one), per_hour=trends[one.task, one.reason, one.error]) for one in found]


@cache
def _listing(given: frozenset[str]) -> Statement[DeadLetterSummary]:
    """One statement per combination of filters, so that PostgreSQL plans each for itself."""
    newest = dead_letters.c.id.desc()  # a UUIDv7: it contains the time of the first failure
    select = sa.select(*_SUMMARY).where(*_conditions(given)).order_by(newest)
    return Statement(select.limit(sa.bindparam("limit", type_=sa.Integer)), DeadLetterSummary)


@cache
def _groups(given: frozenset[str]) -> Statement[_Group]:
    columns = [dead_letters.c[name] for name in _GROUPED]
    number = sa.func.count().label("number")
    select = sa.select(
        *columns,
        number,
        sa.func.min(dead_letters.c.first_dead_at).label("first_dead_at"),
        sa.func.max(dead_letters.c.last_dead_at).label("last_dead_at"),
    )
    grouped = select.where(*_conditions(given)).group_by(*columns).order_by(number.desc(), *columns)
    return Statement(grouped.limit(_MOST_GROUPS), _Group)


@cache
def _hours(given: frozenset[str]) -> Statement[_Hour]:
    columns = [dead_letters.c[name] for name in _GROUPED]
    age = sa.func.extract("epoch", sa.func.now() - dead_letters.c.last_dead_at)
    ago = sa.cast(sa.func.floor(sa.func.greatest(age, 0) / sa.literal_column("3600")), sa.Integer)
    recent = dead_letters.c.last_dead_at > sa.func.now() - sa.func.make_interval(0, 0, 0, 0, _HOURS)
    select = sa.select(*columns, ago.label("ago"), sa.func.count().label("number"))
    return Statement(select.where(recent, *_conditions(given)).group_by(*columns, ago), _Hour)


def _conditions(given: frozenset[str]) -> list[sa.ColumnElement[bool]]:
    names = ("task", "status", "reason", "error", "request_id")
    conditions = {name: dead_letters.c[name] == sa.bindparam(name) for name in names}
    conditions["after"] = dead_letters.c.id < sa.bindparam("after", type_=sa.Uuid)
    return [condition for name, condition in conditions.items() if name in given]
