"""The table `restores`: when PostgreSQL was restored to an earlier state.

What was processed after that state is forgotten, and its message is gone: nothing tells it from a message that still
waits in the broker. So an operation without an outcome that was accepted before a restore is unknown, not pending,
unless something of it is stored.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.tables import metadata

restores = sa.Table(
    "restores",
    metadata,
    sa.Column("restored_at", sa.DateTime(timezone=True), primary_key=True, server_default=sa.func.clock_timestamp()),
)
_UNKNOWN = """
select exists (select from restores where restored_at > %(accepted_at)s)
    and not exists (select from outbox where id = %(id)s)
    and not exists (select from timers where id = %(id)s)
    and not exists (select from retries where id = %(id)s)
"""


def note(connection: sa.Connection) -> None:
    """Record that the database was restored just now."""
    connection.execute(restores.insert().values())


def is_unknown(connection: ReadConnection, operation_id: UUID, accepted_at: datetime) -> bool:
    """Whether a restore may have removed the outcome of this operation, which has none."""
    found = connection.execute(_UNKNOWN, {"id": operation_id, "accepted_at": accepted_at}).fetchone()
    return bool(found and found[0])
