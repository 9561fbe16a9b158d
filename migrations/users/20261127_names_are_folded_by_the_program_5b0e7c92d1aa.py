"""A search by name compares a key that the program folds, whatever the locale of the database

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from backend.contexts.users.domain.user import name_key
from backend.kernel.postgres.search_keys import SearchKeys

revision = "5b0e7c92d1aa"
down_revision = "b6c82d37ed38"
branch_labels = None
depends_on = None

_KEYS = SearchKeys("users", ("name",), ("name_key",), lambda name: (name_key(name),))


def upgrade() -> None:
    op.add_column("users", sa.Column("name_key", sa.Text(), server_default="", nullable=False), if_not_exists=True)
    with op.get_context().autocommit_block():  # the table is in use meanwhile
        if not op.get_context().as_sql:
            _KEYS.rebuild(op.get_bind())
        op.create_index(
            "users_name_key_prefix_idx",
            "users",
            ["name_key"],
            postgresql_ops={"name_key": "text_pattern_ops"},
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.drop_index("users_name_prefix_idx", table_name="users", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    op.create_index(
        "users_name_prefix_idx",
        "users",
        [sa.literal_column("lower(name)").label("lowered")],
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.drop_index("users_name_key_prefix_idx", table_name="users")
    op.drop_column("users", "name_key")
