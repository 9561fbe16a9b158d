"""The table `outbox`: messages that a transaction caused, and commands that the broker could not take.

Guarantee: a row is written in the transaction of its cause and deleted after the broker confirmed
its message. A crash in between publishes it twice; the inbox drops the second copy. Rows of one
aggregate for one queue are published in the order in which they were written.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from backend.kernel.delivery.envelope import Envelope, Headers, Queue
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.statements import as_rows, run, run_rows
from backend.kernel.postgres.tables import metadata

_SWEEP_DEADLINE = 5.0
"""Seconds that a sweep waits for the confirms of a batch: nobody waits for a sweep."""
LEFTOVER_AFTER = 3
"""Seconds after which a row counts as left behind by the process that wrote it. A spooled command is from the start."""
_SPOOLED = "spool:"
"""How the aggregates of spooled commands begin."""
_BATCH = 200
_FRUITLESS_BATCHES = 3
"""After this many batches without a published message a sweep stops: the broker is away."""
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
_ROWS: Final = """
insert into outbox (id, aggregate, queue, name, body, headers)
select id, aggregate, queue, name, body, headers from rows from (jsonb_to_recordset(%(rows)s) as
    (id uuid, aggregate text, queue text, name text, body jsonb, headers jsonb)) with ordinality
order by ordinality
"""
_INSERT: Final = f"{_ROWS} on conflict (id) do nothing"
# A row is deleted by its position, after its message was confirmed. A message that is sent again meanwhile, under the
# same id, takes another position, or else it would be deleted with the copy before it.
_INSERT_AGAIN: Final = f"""{_ROWS}
on conflict (id) do update set position = default, aggregate = excluded.aggregate, headers = excluded.headers,
    created_at = excluded.created_at
"""
# A lock per aggregate keeps its order across relays: with row locks a second relay could take later rows first.
_LOCK = """
select aggregate, pg_advisory_xact_lock(hashtextextended(aggregate, 0)) from unnest(%(aggregates)s::text[]) aggregate
"""
_LOCK_LEFTOVERS = """
select aggregate from (
    select distinct aggregate from outbox
    where (created_at < now() - make_interval(secs => %(seconds)s) or starts_with(aggregate, %(spooled)s))
        and queue <> all(%(refusing)s)
    order by aggregate limit %(most)s
) leftovers
where pg_try_advisory_xact_lock(hashtextextended(aggregate, 0))
"""
# If a crash of the database undoes a deletion, a second copy is published and dropped. So do not wait for the disk.
_QUICKLY = "select set_config('lock_timeout', '1s', true), set_config('synchronous_commit', 'off', true)"
_WAITING = """
select aggregate, position, id, name, queue, body, headers from outbox where aggregate = any(%(aggregates)s)
order by position limit %(most)s
"""


@dataclass(frozen=True)
class Backlog:
    """The messages that wait in the outbox.

    Attributes:
        rows: the number of messages.
        oldest_seconds: the age of the oldest one; 0 if there is none.
        dead_letters: the open ones.
        commits_waiting: commits that have waited for a synchronous standby for over five seconds; those of other roles
            are not seen.
    """

    rows: int
    oldest_seconds: float
    dead_letters: int
    commits_waiting: int


class OutboxFull(Exception):
    """Too many messages wait already."""


def write(connection: sa.Connection, messages: Sequence[tuple[str, Envelope]]) -> None:
    """Add messages, each under its aggregate, whose order is kept. One that waits already is not added again."""
    run_rows(connection, _INSERT, [_row(aggregate, envelope) for aggregate, envelope in messages])


# Positions are unique: their range bounds the number of rows and costs two index lookups.
# Rows are counted, up to the limit, only if the range is too wide, which one old row causes.
_HAS_ROOM = """
select coalesce((select max(position) - min(position) from outbox), 0) < %(most)s - 1
    or not exists (select from outbox order by position offset %(most)s - 1 limit 1)
"""


def has_room(connection: ReadConnection, most: int) -> bool:
    """Whether fewer than `most` rows wait."""
    room = connection.execute(_HAS_ROOM, {"most": most}).fetchone()
    return bool(room and room[0])


def spool(connection: ReadConnection, envelope: Envelope, most: int) -> None:
    """Store a command that the broker could not take; the sweep publishes it.

    Raises:
        OutboxFull: `most` rows wait already.
    """
    if not has_room(connection, most):
        raise OutboxFull
    connection.execute(_INSERT, as_rows([_row(f"{_SPOOLED}{envelope.id}", envelope)]))


def write_again(connection: sa.Connection, aggregate: str, envelope: Envelope) -> None:
    """Add a message whose last copy may still wait here for its confirmation: both are published."""
    run_rows(connection, _INSERT_AGAIN, [_row(aggregate, envelope)])


def _row(aggregate: str, envelope: Envelope) -> dict[str, Any]:
    return {
        "id": envelope.id,
        "aggregate": aggregate,
        "queue": envelope.lane,
        "name": envelope.name,
        "body": envelope.body,
        "headers": envelope.headers.as_json(),
    }


def relay(database: Database, queue: Queue, aggregates: Sequence[str], deadline: float) -> int:
    """Publish the messages of these aggregates, in order; returns how many.

    It waits a moment for another relay of the same aggregate, to keep the order. What the broker does not take
    within `deadline` seconds stays, with everything that follows it to the same queue: the sweep retries.

    Raises:
        psycopg.errors.LockNotAvailable: the other relay takes too long; it or the sweep publishes the rest.
        DatabaseAway: the rows cannot be read or deleted.
    """
    return _publish(database, queue, _LOCK, {"aggregates": sorted(set(aggregates))}, deadline).sent


def sweep(database: Database, queue: Queue, expired: Callable[[], bool] = lambda: False) -> int:
    """Publish what a crash or an absent broker left; returns how many messages.

    Several sweeps may run at once: each takes rows that no other one has locked. What waits for a full lane holds up
    nothing else: the lanes that refused a batch are left out of the next one.
    """
    total, fruitless = 0, 0
    refusing: set[str] = set()
    while not expired() and fruitless < _FRUITLESS_BATCHES:
        which = {
            "seconds": LEFTOVER_AFTER,
            "spooled": _SPOOLED,
            "most": _BATCH,
            "refusing": sorted(refusing),
        }
        batch = _publish(database, queue, _LOCK_LEFTOVERS, which, _SWEEP_DEADLINE)
        total += batch.sent
        refusing |= batch.refusing
        fruitless = 0 if batch.sent else fruitless + 1
        if batch.found < _BATCH or batch.late:
            break
    return total


class _Batch(NamedTuple):
    """The result of a batch.

    Attributes:
        found, sent: how many messages.
        refusing: the lanes in which some are left.
        late: whether the broker did not answer in time.
    """

    found: int
    sent: int
    refusing: set[str]
    late: bool


def _publish(
    database: Database, queue: Queue, lock: LiteralString, which: Mapping[str, Any], deadline: float
) -> _Batch:
    """One batch: the first message of every aggregate for every queue at once, then the second ones, and so on.

    Its aggregates stay locked meanwhile. One deadline for all of them bounds that.
    """
    sent: set[UUID] = set()
    until = monotonic() + deadline
    with database.transaction() as connection:
        run(connection, _QUICKLY, {})
        # Two statements: this one must not see rows that another relay published while it waited for the lock.
        aggregates = [aggregate for aggregate, *_ in run(connection, lock, which)]
        waiting: dict[UUID, str] = {}
        positions: dict[UUID, int] = {}
        lines: dict[tuple[str, str], deque[Envelope]] = defaultdict(deque)
        for aggregate, position, message_id, name, lane, body, headers in run(
            connection, _WAITING, {"aggregates": aggregates, "most": _BATCH}
        ):
            envelope = Envelope(message_id, name, lane, body, Headers.parse(headers))
            lines[aggregate, envelope.lane].append(envelope)
            waiting[message_id] = lane
            positions[message_id] = position
        while lines and (left := until - monotonic()) > 0:
            taken = queue.send_all([line[0] for line in lines.values()], left)
            sent |= taken
            # A failed message blocks those behind it: with the broker away, nothing is tried twice.
            lines = {key: line for key, line in lines.items() if line.popleft().id in taken and line}
        if sent:
            published = [positions[message_id] for message_id in sent]
            run(connection, "delete from outbox where position = any(%(published)s)", {"published": published})
    refusing = {lane for message_id, lane in waiting.items() if message_id not in sent}
    return _Batch(len(waiting), len(sent), refusing, late=monotonic() >= until)
