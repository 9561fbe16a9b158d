"""Messages are found by the hash of the address in them

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "d17c60a5be39"
down_revision = "6b1f0d2c9a44"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("address", sa.LargeBinary(), nullable=True))
    op.add_column("retries", sa.Column("address", sa.LargeBinary(), nullable=True))
    with op.get_context().autocommit_block():  # commands go on being processed meanwhile
        op.create_index(
            op.f("operations_address_idx"),
            "operations",
            ["address"],
            unique=False,
            postgresql_where=sa.text("address is not null"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index(
        op.f("operations_address_idx"), table_name="operations", postgresql_where=sa.text("address is not null")
    )
    op.drop_column("retries", "address")
    op.drop_column("operations", "address")
