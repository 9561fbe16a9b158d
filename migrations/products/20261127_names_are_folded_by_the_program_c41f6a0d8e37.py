"""Searches and the order by name use keys that the program folds, whatever the locale of the database

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from backend.contexts.products.domain import rules
from backend.kernel.postgres.search_keys import SearchKeys

revision = "c41f6a0d8e37"
down_revision = "3f72f2ed6a1c"
branch_labels = None
depends_on = None

_KEYS = SearchKeys("products", ("name", "description"), ("name_key", "words"), rules.search_keys)
_WORDS = (
    "to_tsvector('simple'::regconfig, regexp_replace(((name || ' '::text) || COALESCE(description, ''::text)),"
    " '[!-/:-@[-`{-~]+'::text, ' '::text, 'g'::text))"
)


def upgrade() -> None:
    op.add_column(
        "products",
        sa.Column("name_key", sa.Text(collation="C"), server_default="", nullable=False),
        if_not_exists=True,
    )
    op.execute("ALTER TABLE products ALTER COLUMN words DROP EXPRESSION IF EXISTS")  # the words that it made stay
    with op.get_context().autocommit_block():  # the table is in use meanwhile
        if not op.get_context().as_sql:
            _KEYS.rebuild(op.get_bind())
        _replace_index("name", "name_key", ["price", "is_active", "in_stock"])
        _replace_index("price", "price", ["created_at", "name_key", "is_active", "in_stock"])


def downgrade() -> None:
    op.drop_index("products_name_key_id_idx", table_name="products")
    op.drop_index("products_price_id_idx", table_name="products")
    op.drop_column("products", "words")
    op.drop_column("products", "name_key")
    op.add_column("products", sa.Column("words", postgresql.TSVECTOR(), sa.Computed(_WORDS, persisted=True)))
    op.create_index("products_words_idx", "products", ["words"], postgresql_using="gin")
    for column, others in (("name", ["price"]), ("price", ["created_at", "name"])):
        op.create_index(
            f"products_{column}_id_idx",
            "products",
            [column, "id"],
            postgresql_include=[*others, "is_active", "in_stock"],
        )


def _replace_index(before: str, column: str, include: list[str]) -> None:
    """Make the new one before the old one goes: the listing never lacks both."""
    op.create_index(
        "products_new_idx",
        "products",
        [column, "id"],
        postgresql_include=include,
        postgresql_concurrently=True,
        if_not_exists=True,
    )
    op.drop_index(f"products_{before}_id_idx", table_name="products", postgresql_concurrently=True, if_exists=True)
    op.execute(f"ALTER INDEX products_new_idx RENAME TO products_{column}_id_idx")
