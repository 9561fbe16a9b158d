"""Add the counters of limits.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2fef7e1e8a00"
down_revision = "bc8fd90c0fcc"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("times", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("counters_pkey")),
    )
    op.create_index(op.f("counters_expires_at_idx"), "counters", ["expires_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("counters_expires_at_idx"), table_name="counters")
    op.drop_table("counters")
