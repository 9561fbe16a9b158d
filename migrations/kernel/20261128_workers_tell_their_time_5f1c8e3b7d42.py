"""Workers tell their time

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5f1c8e3b7d42"
down_revision = "8b5e2d7a9c13"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("told_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "told_at")
