"""The `outbox` table: what must be published because of a transaction, and commands the broker could not take.

Guarantee: a row is written in the transaction of its cause and deleted after the broker confirmed
its message. A crash in between publishes it twice; the inbox drops the second. Rows of one
aggregate are published in the order in which they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, insert

from backend.shared.application.messages import Envelope, Queue, QueueUnavailable
from backend.shared.infrastructure.database import Database, ReadConnection, Statement, metadata
from backend.shared.infrastructure.operations import operations

EVENTS_EXCHANGE = "events"
"""In the `queue` column: a CloudEvents copy for the outside world, not a worker's message."""
_PUBLISH_DEADLINE = 5.0
_LEFTOVER_AFTER = 3
"""Seconds after which a row counts as left over by the process that wrote it."""
_BATCH = 200
_GIVE_UP_AFTER = 3
"""Aggregates whose message the broker refused, until a batch takes it for away."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
    sa.Column("aggregate", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("headers", JSONB, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Index(None, "aggregate", "position"),
    sa.Index(None, "created_at"),
)

# A lock per aggregate keeps its order among relays: a row lock would let a second one take the later rows first.
_KEY = sa.func.hashtextextended(sa.column("aggregate"), 0)
_LOCK = sa.func.pg_advisory_xact_lock(_KEY).label("mine")
_TRY_LOCK = sa.func.pg_try_advisory_xact_lock(_KEY).label("mine")


@dataclass(frozen=True)
class Backlog:
    """What waits in the outbox.

    Attributes:
        rows: how many messages.
        oldest_seconds: age of the oldest, 0 when there is none.
        finished: operations kept, by status.
        dead_letters: those that wait for an operator.
    """

    rows: int
    oldest_seconds: float
    finished: Mapping[str, int]
    dead_letters: int = 0


@dataclass(frozen=True)
class _Counted:
    rows: int
    oldest_seconds: float
    finished: dict[str, int] | None


class OutboxFull(Exception):
    """Too much waits already."""


_AGE = sa.func.extract("epoch", sa.func.now() - sa.func.min(outbox.c.created_at))
_BY_STATUS = sa.select(operations.c.status, sa.func.count().label("number")).group_by(operations.c.status).subquery()
_BACKLOG = Statement(
    sa.select(
        sa.func.count().label("rows"),
        sa.cast(sa.func.coalesce(_AGE, 0), sa.Float).label("oldest_seconds"),
        sa.select(sa.func.jsonb_object_agg(_BY_STATUS.c.status, _BY_STATUS.c.number))
        .scalar_subquery()
        .label("finished"),
    ),
    _Counted,
)


def backlog(connection: ReadConnection) -> Backlog:
    """How much waits, and since when."""
    found = _BACKLOG.one(connection)
    if found is None:
        raise AssertionError("an aggregate without GROUP BY has one row")
    return Backlog(found.rows, found.oldest_seconds, found.finished or {})


def write(connection: sa.Connection, envelopes: Sequence[tuple[str, Envelope]]) -> None:
    """Add messages, each under the aggregate whose order it keeps. One that waits already is not added again."""
    if envelopes:
        connection.execute(
            insert(outbox).on_conflict_do_nothing(index_elements=[outbox.c.id]),
            [
                {
                    "id": envelope.id,
                    "aggregate": aggregate,
                    "queue": envelope.queue,
                    "name": envelope.name,
                    "body": envelope.body,
                    "headers": envelope.headers,
                }
                for aggregate, envelope in envelopes
            ],
        )


# Positions are unique: their range bounds the number of rows, and costs two looks into an index.
# Only when it is too wide, as one old row makes it, are the rows counted, and never beyond the limit.
_HAS_ROOM = """
select coalesce((select max(position) - min(position) from outbox), 0) < %(most)s - 1
    or not exists (select from outbox order by position offset %(most)s - 1 limit 1)
"""


def spool(connection: ReadConnection, envelope: Envelope, most: int) -> None:
    """Keep a command that the broker could not take; the sweep publishes it.

    Raises:
        OutboxFull: `most` rows wait already; they must be worked off some day.
    """
    room = connection.execute(_HAS_ROOM, {"most": most}).fetchone()
    if not (room and room[0]):
        raise OutboxFull
    connection.execute(
        "insert into outbox (id, aggregate, queue, name, body, headers) values (%s, %s, %s, %s, %s, %s)"
        " on conflict do nothing",
        (
            envelope.id,
            f"spool:{envelope.id}",
            envelope.queue,
            envelope.name,
            Jsonb(envelope.body),
            Jsonb({**envelope.headers, "spooled": True}),
        ),
    )


def relay(database: Database, queue: Queue, aggregates: Sequence[str]) -> int:
    """Publish what waits for these aggregates, in order; returns how many messages went.

    Stops at the first message that the broker does not take: the sweep tries again.

    Raises:
        DatabaseAway: the rows cannot be read or deleted.
    """
    due = outbox.c.aggregate.in_(sorted(set(aggregates)))
    # Waits for another relay of the same aggregate rather than overtake it.
    return _publish(database, queue, due, skip_locked=False)


def sweep(database: Database, queue: Queue, expired: Callable[[], bool] = lambda: False) -> int:
    """Publish what crashes, or a broker that was away, left over; returns how many messages went.

    Several sweeps may run side by side: each takes rows no other holds.
    """
    due = outbox.c.created_at < sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, _LEFTOVER_AFTER)
    total = 0
    while not expired():
        sent = _publish(database, queue, due, skip_locked=True)
        total += sent
        if sent < _BATCH:
            break
    return total


def _publish(database: Database, queue: Queue, due: sa.ColumnElement[bool], *, skip_locked: bool) -> int:
    """One batch. Its aggregates stay locked while it is published, which the deadline bounds."""
    sent: list[UUID] = []
    stuck: set[str] = set()
    with database.transaction() as connection:
        lock = _TRY_LOCK if skip_locked else _LOCK
        heads = sa.select(outbox.c.aggregate).where(due).distinct().order_by(outbox.c.aggregate).limit(_BATCH)
        names = [
            row.aggregate for row in connection.execute(sa.select(heads.subquery(), lock)) if row.mine is not False
        ]
        rows = connection.execute(
            sa.select(outbox).where(outbox.c.aggregate.in_(names)).order_by(outbox.c.position).limit(_BATCH)
        ).all()
        for row in rows:
            if row.aggregate in stuck:
                continue
            try:
                _send(queue, row)
            except QueueUnavailable:
                stuck.add(row.aggregate)
                if len(stuck) == _GIVE_UP_AFTER:
                    break
            else:
                sent.append(row.id)
        if sent:
            connection.execute(outbox.delete().where(outbox.c.id.in_(sent)))
    return len(sent)


def _send(queue: Queue, row: Any) -> None:
    if row.queue == EVENTS_EXCHANGE:
        queue.announce(row.name, row.body, _PUBLISH_DEADLINE)
    else:
        queue.send(Envelope(row.id, row.name, row.queue, row.body, row.headers), _PUBLISH_DEADLINE)
