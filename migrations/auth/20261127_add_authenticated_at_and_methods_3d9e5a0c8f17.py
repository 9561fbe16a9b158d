"""Add when and how the owner of a session last proved who they are.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "3d9e5a0c8f17"
down_revision = "auth_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sessions",
        sa.Column("authenticated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.add_column(
        "sessions",
        sa.Column("methods", postgresql.ARRAY(sa.Text()), server_default="{pwd}", nullable=False),
    )
    op.execute("UPDATE sessions SET authenticated_at = created_at")
    op.create_index(
        "sessions_revoked_idx",
        "sessions",
        ["user_id", "revoked_at"],
        unique=False,
        postgresql_where=sa.text("revoked_at is not null"),
    )
    op.add_column("challenges", sa.Column("session_id", sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.drop_column("challenges", "session_id")
    op.drop_index("sessions_revoked_idx", table_name="sessions", postgresql_where=sa.text("revoked_at is not null"))
    op.drop_column("sessions", "methods")
    op.drop_column("sessions", "authenticated_at")
