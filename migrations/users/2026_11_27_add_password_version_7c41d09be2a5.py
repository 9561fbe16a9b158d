"""Add password_version, which a sign-in compares, and an index that tells the most expensive hash in use.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7c41d09be2a5"
down_revision = "users_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("password_version", sa.Integer(), server_default="1", nullable=False))
    op.create_index(
        "users_password_cost_idx", "users", [sa.literal_column("split_part(password_hash, '$', 3)")], unique=False
    )


def downgrade() -> None:
    op.drop_index("users_password_cost_idx", table_name="users")
    op.drop_column("users", "password_version")
