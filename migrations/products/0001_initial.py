"""The first tables of products.

Expand or contract, never both: the release before this one still runs while it is applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "products_0001"
down_revision = None
branch_labels = ("products",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "product_imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("product_imports_pkey")),
        if_not_exists=True,
    )
    op.create_index(
        op.f("product_imports_created_at_idx"), "product_imports", ["created_at"], unique=False, if_not_exists=True
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("stock", sa.Integer(), nullable=False),
        sa.Column("low_stock_threshold", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "to_tsvector('simple'::regconfig, regexp_replace(((name || ' '::text) || COALESCE(description, ''::text)), '[!-/:-@[-`{-~]+'::text, ' '::text, 'g'::text))",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("in_stock", sa.Boolean(), sa.Computed("stock > 0", persisted=True), nullable=True),
        sa.CheckConstraint("price >= 0", name=op.f("products_price_check")),
        sa.CheckConstraint("stock >= 0", name=op.f("products_stock_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("products_pkey")),
        sa.UniqueConstraint("sku", name=op.f("products_sku_key")),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_insert_scale_factor": 0.02},
        if_not_exists=True,
    )
    op.create_index(
        op.f("products_created_at_id_idx"),
        "products",
        ["created_at", "id"],
        unique=False,
        postgresql_include=["price", "is_active", "in_stock"],
        if_not_exists=True,
    )
    op.create_index(
        op.f("products_name_id_idx"),
        "products",
        ["name", "id"],
        unique=False,
        postgresql_include=["price", "is_active", "in_stock"],
        if_not_exists=True,
    )
    op.create_index(
        op.f("products_price_id_idx"),
        "products",
        ["price", "id"],
        unique=False,
        postgresql_include=["created_at", "name", "is_active", "in_stock"],
        if_not_exists=True,
    )
    op.create_index(
        op.f("products_words_idx"), "products", ["words"], unique=False, postgresql_using="gin", if_not_exists=True
    )
    op.create_table(
        "product_import_failures",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("problem", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["product_imports.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("import_id", "line", name=op.f("product_import_failures_pkey")),
        if_not_exists=True,
    )
    op.create_table(
        "stock_movements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("balance", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("balance >= 0", name=op.f("stock_movements_balance_check")),
        sa.CheckConstraint("quantity <> 0", name=op.f("stock_movements_quantity_check")),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["products.id"],
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_movements_pkey")),
        if_not_exists=True,
    )
    op.create_index(
        op.f("stock_movements_product_id_position_idx"),
        "stock_movements",
        ["product_id", "position"],
        unique=False,
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_index(op.f("stock_movements_product_id_position_idx"), table_name="stock_movements")
    op.drop_table("stock_movements")
    op.drop_table("product_import_failures")
    op.drop_index(op.f("products_words_idx"), table_name="products", postgresql_using="gin")
    op.drop_index(
        op.f("products_price_id_idx"),
        table_name="products",
        postgresql_include=["created_at", "name", "is_active", "in_stock"],
    )
    op.drop_index(
        op.f("products_name_id_idx"), table_name="products", postgresql_include=["price", "is_active", "in_stock"]
    )
    op.drop_index(
        op.f("products_created_at_id_idx"), table_name="products", postgresql_include=["price", "is_active", "in_stock"]
    )
    op.drop_table("products")
    op.drop_index(op.f("product_imports_created_at_idx"), table_name="product_imports")
    op.drop_table("product_imports")
