"""The first tables of notifications.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "notifications_0001"
down_revision = None
branch_labels = ("notifications",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('sending', 'sent', 'expired', 'undeliverable')", name=op.f("mails_status_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("mails_pkey")),
        if_not_exists=True,
    )
    op.create_index(op.f("mails_created_at_idx"), "mails", ["created_at"], unique=False, if_not_exists=True)


def downgrade() -> None:
    op.drop_index(op.f("mails_created_at_idx"), table_name="mails")
    op.drop_table("mails")
