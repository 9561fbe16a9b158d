"""When the database was restored

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0c7f3e21d8b6"
down_revision = "d17c60a5be39"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "restores",
        sa.Column(
            "restored_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("restored_at", name=op.f("restores_pkey")),
    )


def downgrade() -> None:
    op.drop_table("restores")
