"""Find the mails of a request

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

from alembic import op

revision = "5e83c1d7a0b4"
down_revision = "2f4be9d07c15"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():  # mails go on being sent meanwhile
        op.create_index(
            op.f("mails_request_id_idx"), "mails", ["request_id"], unique=False, postgresql_concurrently=True
        )


def downgrade() -> None:
    op.drop_index(op.f("mails_request_id_idx"), table_name="mails")
