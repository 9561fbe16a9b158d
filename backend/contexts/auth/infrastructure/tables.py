"""Tables of the auth context, and the mapping of rows to entities."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from backend.contexts.auth.domain.challenge import Challenge
from backend.contexts.auth.domain.session import Session
from backend.kernel.postgres.tables import mapper_registry, metadata

_TIME = sa.DateTime(timezone=True)

# No foreign key to users: the session of a deleted account must still be found, as ended.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("user_id", sa.Uuid, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("refresh_fingerprint", sa.Text, nullable=False),
    sa.Column("spent", JSONB, nullable=False),
    sa.Column("ip", sa.Text, nullable=False),
    sa.Column("user_agent", sa.Text, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("last_used_at", _TIME, nullable=False),
    sa.Column("authenticated_at", _TIME, nullable=False, server_default=sa.func.now()),
    sa.Column("methods", ARRAY(sa.Text), nullable=False, server_default="{pwd}"),
    sa.Column("ended_at", _TIME),
    sa.Column("revoked_at", _TIME),
    sa.Index("sessions_live_idx", "user_id", "last_used_at", postgresql_where=sa.text("ended_at is null")),
    sa.Index("sessions_revoked_idx", "user_id", "revoked_at", postgresql_where=sa.text("revoked_at is not null")),
    sa.Index(None, "revoked_at"),
    sa.Index(None, "last_used_at"),
)

challenges = sa.Table(
    "challenges",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("user_id", sa.Uuid, nullable=False),
    sa.Column("session_id", sa.Uuid),
    sa.Column("code_digest", sa.LargeBinary, nullable=False),
    sa.Column("tries", sa.SmallInteger, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("sent_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Column("ended_at", _TIME),
    sa.Index(None, "user_id", "created_at"),
    sa.Index(None, "created_at"),
)

# Release 0.1 counts here, and may still run while a database is migrated. The next release drops the table.
failures = sa.Table(
    "failures",
    metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("times", ARRAY(_TIME), nullable=False),
    sa.Column("blocks", sa.Integer, nullable=False),
    sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
    sa.Index(None, "updated_at"),
)

mapper_registry.map_imperatively(Session, sessions)
mapper_registry.map_imperatively(Challenge, challenges)
