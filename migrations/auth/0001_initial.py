"""The first tables of auth.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "auth_0001"
down_revision = None
branch_labels = ("auth",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "challenges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("challenges_pkey")),
        if_not_exists=True,
    )
    op.create_index(op.f("challenges_created_at_idx"), "challenges", ["created_at"], unique=False, if_not_exists=True)
    op.create_index(
        op.f("challenges_user_id_created_at_idx"),
        "challenges",
        ["user_id", "created_at"],
        unique=False,
        if_not_exists=True,
    )
    op.create_table(
        "failures",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("times", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("failures_pkey")),
        if_not_exists=True,
    )
    op.create_index(op.f("failures_updated_at_idx"), "failures", ["updated_at"], unique=False, if_not_exists=True)
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("refresh_fingerprint", sa.Text(), nullable=False),
        sa.Column("spent", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
        if_not_exists=True,
    )
    op.create_index(op.f("sessions_last_used_at_idx"), "sessions", ["last_used_at"], unique=False, if_not_exists=True)
    op.create_index(
        "sessions_live_idx",
        "sessions",
        ["user_id", "last_used_at"],
        unique=False,
        postgresql_where=sa.text("ended_at is null"),
        if_not_exists=True,
    )
    op.create_index(op.f("sessions_revoked_at_idx"), "sessions", ["revoked_at"], unique=False, if_not_exists=True)


def downgrade() -> None:
    op.drop_index(op.f("sessions_revoked_at_idx"), table_name="sessions")
    op.drop_index("sessions_live_idx", table_name="sessions", postgresql_where=sa.text("ended_at is null"))
    op.drop_index(op.f("sessions_last_used_at_idx"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("failures_updated_at_idx"), table_name="failures")
    op.drop_table("failures")
    op.drop_index(op.f("challenges_user_id_created_at_idx"), table_name="challenges")
    op.drop_index(op.f("challenges_created_at_idx"), table_name="challenges")
    op.drop_table("challenges")
