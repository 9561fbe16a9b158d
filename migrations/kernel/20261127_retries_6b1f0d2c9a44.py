"""Messages that wait for their next try

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6b1f0d2c9a44"
down_revision = "99cfe39dfcd9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("retries_pkey")),
    )
    op.create_index(op.f("retries_request_id_idx"), "retries", ["request_id"], unique=False)
    op.create_index(op.f("retries_next_try_at_idx"), "retries", ["next_try_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("retries_next_try_at_idx"), table_name="retries")
    op.drop_index(op.f("retries_request_id_idx"), table_name="retries")
    op.drop_table("retries")
