"""Tables of the products context, and the mapping of rows to products."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import deferred

from backend.contexts.products.domain import rules
from backend.contexts.products.domain.product import Product
from backend.kernel.postgres.search_keys import SearchKeys
from backend.kernel.postgres.tables import mapper_registry, metadata

products = sa.Table(
    "products",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("sku", sa.Text, unique=True),
    # "C": the same order on every server. A library upgrade that changed the order would corrupt the index.
    sa.Column("name", sa.Text(collation="C"), nullable=False),
    sa.Column("name_key", sa.Text(collation="C"), nullable=False, server_default=""),
    sa.Column("description", sa.Text),
    sa.Column("price", sa.Numeric(12, 2), nullable=False),
    sa.Column("stock", sa.Integer, nullable=False),
    sa.Column("low_stock_threshold", sa.Integer, nullable=False),
    sa.Column("is_active", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column(
        "updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), onupdate=sa.func.now()
    ),
    # Not the mapper's `version_id_col`, with which it writes one row a statement: who changes a product has locked it.
    sa.Column("version", sa.Integer, nullable=False, default=1, onupdate=sa.text("products.version + 1")),
    sa.Column("written", JSONB, nullable=False, server_default="{}"),
    # Lexemes as they are: PostgreSQL's parser would fold them by the locale of the database.
    sa.Column("words", TSVECTOR),
    sa.Column("in_stock", sa.Boolean, sa.Computed("stock > 0", persisted=True)),
    sa.CheckConstraint("price >= 0", name="price"),
    sa.CheckConstraint("stock >= 0", name="stock"),
    # Each order of the listing, with the columns of the filters: a page is chosen from the index alone.
    # Not the stock itself: a stock movement that changes no indexed column updates no index.
    sa.Index(None, "created_at", "id", postgresql_include=["price", "is_active", "in_stock"]),
    sa.Index(None, "price", "id", postgresql_include=["created_at", "name_key", "is_active", "in_stock"]),
    sa.Index(None, "name_key", "id", postgresql_include=["price", "is_active", "in_stock"]),
    sa.Index(None, "words", postgresql_using="gin"),
    # Index-only scans need vacuumed pages: vacuum after changes to 2 % of the rows, not PostgreSQL's 20 %.
    postgresql_with={"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_insert_scale_factor": 0.02},
)

stock_movements = sa.Table(
    "stock_movements",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    # The order of the ledger. Times may be equal, or go backwards when a clock is set.
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("product_id", sa.Uuid, sa.ForeignKey(products.c.id), nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("balance", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("actor_id", sa.Uuid),
    # Not now(): that is the start of the transaction, perhaps before it waited for the previous movement's.
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    sa.CheckConstraint("quantity <> 0", name="quantity"),
    sa.CheckConstraint("balance >= 0", name="balance"),
    sa.Index(None, "product_id", "position"),
)

imports = sa.Table(
    "product_imports",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("media_type", sa.Text, nullable=False),
    # The uploaded bytes: no text or JSON column stores every character that a caller may send.
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Index(None, "created_at"),
)

import_failures = sa.Table(
    "product_import_failures",
    metadata,
    sa.Column("import_id", sa.ForeignKey(imports.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("line", sa.Integer, primary_key=True),
    sa.Column("problem", JSONB, nullable=False),
)

mapper_registry.map_imperatively(
    Product,
    products,
    eager_defaults=False,
    exclude_properties=["in_stock"],
    # Written only.
    properties={"name_key": deferred(products.c.name_key), "words": deferred(products.c.words)},
)

SEARCH_KEYS = SearchKeys("products", ("name", "description"), ("name_key", "words"), rules.search_keys)
