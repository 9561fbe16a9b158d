"""Workers tell that they are stuck

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a4c2f60d9b17"
down_revision = "3d9a7c41e6b8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("stuck_seconds", sa.Float, nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "stuck_seconds")
