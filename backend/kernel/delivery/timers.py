"""The table `timers`: commands to be processed later.

Guarantee: a row is written in the transaction of its cause. When it is due, the sweep moves it to the outbox in one
statement. So it is sent at least once and takes effect once, at most one sweep interval late while the broker is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from backend.kernel.delivery.envelope import Envelope
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.statements import driver_of, run
from backend.kernel.postgres.tables import metadata

_BATCH = 500

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
_MOVE = """
with due as (
    delete from timers where id in (
        select id from timers where due_at <= now() order by due_at limit %(most)s for update skip locked
    ) returning id, queue, name, body, headers
)
insert into outbox (id, aggregate, queue, name, body, headers)
    select id, 'timer:' || id, queue, name, body, headers from due
on conflict (id) do nothing
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


def move_due(database: Database) -> int:
    """Move what is due to the outbox; returns how many messages."""
    with database.transaction() as connection:
        return run(connection, _MOVE, {"most": _BATCH}).rowcount
