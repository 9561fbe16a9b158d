"""The first tables of kernel.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = ("kernel",)
depends_on = None

_TRIGGERS = Path(__file__).with_name("0001_audit_append_only.sql")


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("about", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    op.create_index(op.f("audit_log_about_at_id_idx"), "audit_log", ["about", "at", "id"], unique=False)
    op.create_index(op.f("audit_log_actor_at_id_idx"), "audit_log", ["actor", "at", "id"], unique=False)
    op.create_index(op.f("audit_log_at_id_idx"), "audit_log", ["at", "id"], unique=False)
    op.create_index(op.f("audit_log_request_id_idx"), "audit_log", ["request_id"], unique=False)
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("traceback", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column(
            "first_dead_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "last_dead_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("status in ('open', 'replayed', 'discarded')", name=op.f("dead_letters_status_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("dead_letters_pkey")),
        sa.UniqueConstraint("message_id", name=op.f("dead_letters_message_id_key")),
    )
    op.create_index(op.f("dead_letters_last_dead_at_idx"), "dead_letters", ["last_dead_at"], unique=False)
    op.create_index(
        "dead_letters_open_idx",
        "dead_letters",
        ["task", "reason", "error"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(op.f("dead_letters_request_id_idx"), "dead_letters", ["request_id"], unique=False)
    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("problem", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("cause", sa.Uuid(), nullable=True),
        sa.Column("spooled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status in ('succeeded', 'failed')", name=op.f("operations_status_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("operations_pkey")),
    )
    op.create_index(op.f("operations_finished_at_idx"), "operations", ["finished_at"], unique=False)
    op.create_index(op.f("operations_request_id_idx"), "operations", ["request_id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("aggregate", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_pkey")),
        sa.UniqueConstraint("position", name=op.f("outbox_position_key")),
    )
    op.create_index(op.f("outbox_aggregate_position_idx"), "outbox", ["aggregate", "position"], unique=False)
    op.create_index(op.f("outbox_created_at_idx"), "outbox", ["created_at"], unique=False)
    op.execute(_TRIGGERS.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.drop_index(op.f("outbox_created_at_idx"), table_name="outbox")
    op.drop_index(op.f("outbox_aggregate_position_idx"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_index(op.f("operations_request_id_idx"), table_name="operations")
    op.drop_index(op.f("operations_finished_at_idx"), table_name="operations")
    op.drop_table("operations")
    op.drop_index(op.f("dead_letters_request_id_idx"), table_name="dead_letters")
    op.drop_index("dead_letters_open_idx", table_name="dead_letters", postgresql_where=sa.text("status = 'open'"))
    op.drop_index(op.f("dead_letters_last_dead_at_idx"), table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index(op.f("audit_log_request_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_at_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_actor_at_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_about_at_id_idx"), table_name="audit_log")
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION audit_log_only_grows()")
