"""List the operations of an actor

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "88fc0bf767ec"
down_revision = "a5783a8112bf"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():  # commands go on being processed meanwhile
        op.create_index(
            op.f("operations_actor_finished_at_id_idx"),
            "operations",
            ["actor", "finished_at", "id"],
            unique=False,
            postgresql_where=sa.text("cause is null and actor is not null"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index(
        op.f("operations_actor_finished_at_id_idx"),
        table_name="operations",
        postgresql_where=sa.text("cause is null and actor is not null"),
    )
