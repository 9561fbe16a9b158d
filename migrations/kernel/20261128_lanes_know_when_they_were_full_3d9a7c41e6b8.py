"""Lanes know when they were full

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3d9a7c41e6b8"
down_revision = "5f1c8e3b7d42"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lanes", sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("lanes", "refused_at")
