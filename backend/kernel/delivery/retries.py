"""The table `retries`: messages that RabbitMQ keeps until their next try.

It is for operators: nothing is decided by it. A row is written before its message is delayed, as far as the database
answers, and deleted in the transaction of the message's outcome.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from backend.kernel.delivery.envelope import Envelope
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.statements import run
from backend.kernel.postgres.tables import metadata

retries = sa.Table(
    "retries",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("address", sa.LargeBinary),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index(None, "request_id"),
    sa.Index(None, "next_try_at"),
)
_NOTE = """
insert into retries (id, name, lane, request_id, address, tries, reason, next_try_at)
values (%(id)s, %(name)s, %(lane)s, %(request_id)s, %(address)s, %(tries)s, %(reason)s,
        now() + make_interval(secs => %(seconds)s))
on conflict (id) do update set tries = excluded.tries, reason = excluded.reason, next_try_at = excluded.next_try_at
"""
# What is long overdue waits in its lane again, or was removed from the broker by hand.
# What is due in `timers` and still there is of a kind that is paused.
_DELAYED = """
select lane, count(*) from (
    select lane from retries where next_try_at > now() - make_interval(mins => 10)
    union all select queue from timers where due_at <= now()
) waiting group by lane
"""

_STUCK = """
select lane, count(*), mode() within group (order by reason) from retries
where next_try_at > now() - make_interval(mins => 10) and since < now() - make_interval(mins => 1)
group by lane order by lane
"""


def note(connection: ReadConnection, envelope: Envelope, tries: int, reason: str, seconds: float) -> None:
    """Record that the message is tried again.

    Args:
        tries: how often it was tried.
        reason: why the last one failed, without values.
        seconds: until the next one.
    """
    known = {"id": envelope.id, "name": envelope.name, "lane": envelope.lane, "address": envelope.address}
    now = {"tries": tries, "reason": reason, "seconds": seconds}
    connection.execute(_NOTE, {**known, **now, "request_id": envelope.headers.request_id or None})


def forget(connection: sa.Connection, envelope: Envelope) -> None:
    """Delete the row of a message that has an outcome."""
    run(connection, "delete from retries where id = %(id)s", {"id": envelope.id})


def delayed(connection: ReadConnection) -> dict[str, int]:
    """By lane, how many messages wait for their next try, or for the end of a pause of their kind."""
    return dict(connection.execute(_DELAYED).fetchall())


def stuck(connection: ReadConnection) -> list[tuple[str, int, str]]:
    """By lane, how many messages have waited for a successful try for over a minute, and the most frequent reason."""
    return [(lane, number, reason) for lane, number, reason in connection.execute(_STUCK)]


RETENTION = Retention(retries.c.next_try_at, timedelta(days=1))
