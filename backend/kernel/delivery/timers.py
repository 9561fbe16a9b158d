"""The table `timers`: commands to be processed later, and messages of a kind that operators have paused.

Guarantee: a row is written in the transaction of its cause, or before its message is acknowledged. When it is due and
its kind is not paused, the sweep moves it to the outbox in one statement. So it is sent at least once and takes effect
once, at most one sweep interval late while the broker is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from backend.kernel.delivery import pauses
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.outbox import LEFTOVER_AFTER
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.statements import driver_of, run
from backend.kernel.postgres.tables import metadata

BATCH = 500
"""The most messages that one statement moves."""

timers = sa.Table(
    "timers",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("headers", JSONB, nullable=False),
    sa.Index(None, "due_at"),
)
_INSERT = "insert into timers (id, due_at, queue, name, body, headers) values (%s, %s, %s, %s, %s, %s)"
# A message whose acknowledgement was lost is delivered again, and finds its row.
_SET_ASIDE = """
insert into timers (id, due_at, queue, name, body, headers) values (%s, now(), %s, %s, %s, %s)
on conflict (id) do nothing
"""
# Its last copy in the outbox may still wait for its confirmation: see `outbox.write_again`. Nobody else relays the row,
# so the sweep takes it at once. A subquery of the deletion could run once for each row, and lock as many each time.
_MOVE = """
with chosen as materialized (
    select id from timers where due_at <= now() and not exists (
        select from lanes where lanes.name = %(task)s || timers.name and lanes.paused_at is not null
    ) order by due_at limit %(most)s for update skip locked
), due as (
    delete from timers using chosen where timers.id = chosen.id
    returning timers.id, queue, name, body, headers
)
insert into outbox (id, aggregate, queue, name, body, headers, created_at)
    select id, 'timer:' || id, queue, name, body, headers, now() - make_interval(secs => %(seconds)s) from due
on conflict (id) do update set position = default, aggregate = excluded.aggregate, headers = excluded.headers,
    created_at = excluded.created_at
"""


@dataclass(frozen=True)
class Timer:
    """A message, and when to send it."""

    due_at: datetime
    envelope: Envelope


def write(connection: sa.Connection, wanted: Sequence[Timer]) -> None:
    """Store messages until they are due."""
    with driver_of(connection).cursor() as cursor:
        cursor.executemany(
            _INSERT,
            [
                (
                    one.envelope.id,
                    one.due_at,
                    one.envelope.lane,
                    one.envelope.name,
                    Jsonb(one.envelope.body),
                    Jsonb(one.envelope.headers.as_json()),
                )
                for one in wanted
            ],
        )


def set_aside(connection: sa.Connection, envelope: Envelope) -> None:
    """Keep a message until its kind is no longer paused."""
    body, headers = Jsonb(envelope.body), Jsonb(envelope.headers.as_json())
    with driver_of(connection).cursor() as cursor:
        cursor.execute(_SET_ASIDE, (envelope.id, envelope.lane, envelope.name, body, headers))


def move_due(database: Database) -> int:
    """Move what is due to the outbox; returns how many messages, at most `BATCH`."""
    with database.transaction() as connection:
        return run(connection, _MOVE, {"most": BATCH, "task": pauses.PREFIX, "seconds": LEFTOVER_AFTER}).rowcount
