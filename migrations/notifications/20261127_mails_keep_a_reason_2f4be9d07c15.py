"""Mails keep why they were dropped

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2f4be9d07c15"
down_revision = "notifications_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mails", sa.Column("reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("mails", "reason")
