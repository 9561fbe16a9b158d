"""Queries of the products context, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY, aggregate_order_by

from backend.contexts.products.application.queries import (
    GetProduct,
    ListMovements,
    ListProducts,
    MovementView,
    ProductView,
)
from backend.contexts.products.domain import rules
from backend.contexts.products.domain.errors import ProductNotFound
from backend.contexts.products.infrastructure.tables import (
    import_failures,
    imports,
    products,
    stock_movements,
)
from backend.kernel.messages.message import Progress
from backend.kernel.messages.paging import Page, page_of
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.queries import Queries
from backend.kernel.postgres.statements import Statement

queries = Queries()

_VIEW = sa.select(*(products.c[name] for name in ProductView.__dataclass_fields__))
_BY_ID = Statement(_VIEW.where(products.c.id == sa.bindparam("id")), ProductView)
_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_ID = sa.bindparam("id", type_=sa.Uuid)
_PLACE = frozenset({"last", "id"})
_SCANNED = 10_000
"""Products that a search reads one by one, in milliseconds. A word that fills no page among them is rare to sort."""
_FENCE: sa.ColumnElement[Any] = sa.literal_column("0")
"""As an offset it changes nothing, but makes PostgreSQL plan the subquery separately."""


@queries.on(GetProduct)
def get_product(query: GetProduct, connection: ReadConnection) -> ProductView:
    """One product."""
    product = _BY_ID.one(connection, id=query.product_id)
    if product is None or not (product.is_active or query.hidden):
        raise ProductNotFound
    return product


@queries.on(ListProducts)
def list_products(query: ListProducts, connection: ReadConnection) -> Page[ProductView]:
    """A page of products."""
    parameters = {name: getattr(query, name) for name in ("min_price", "max_price", "in_stock", "is_active")}
    given = {name: value for name, value in parameters.items() if value is not None}
    if query.q and not query.q.isspace():  # an empty search field searches for nothing
        given["q"] = " & ".join(rules.words(query.q))
    if query.after:
        given["last"], given["id"] = query.after
    asked = {"sort": query.sort, "given": frozenset(given), "hidden": query.hidden}
    rows = _listing(**asked).all(connection, limit=query.limit + 1, **given)
    if "q" in given and len(rows) <= query.limit:
        rows = _search(**asked).all(connection, limit=query.limit + 1, **given)
    return page_of(rows, query.limit, lambda product: (_place(product, query.sort), str(product.id)))


def _place(product: ProductView, sort: str) -> str:
    return rules.sort_key(product.name) if sort == "name" else str(getattr(product, sort.removeprefix("-")))


@cache
def _listing(*, sort: str, given: frozenset[str], hidden: bool) -> Statement[ProductView]:
    """A page: one statement per order and combination of filters, planned for the given values.

    A search first reads the next `_SCANNED` products. A common word fills a page there, and sorting all its
    matches would take long. PostgreSQL cannot tell which words are common: it estimates a word without
    statistics as rather frequent, and would scan the whole table for it.
    """
    if given <= _PLACE:
        return _page(products, sort, _where(products, sort, given, hidden=hidden), plan_each=False)
    if "q" not in given:
        return _page(products, sort, [products.c.id.in_(_chosen(sort, given, hidden=hidden))], plan_each=True)
    where = _where(products, sort, given & _PLACE, hidden=hidden)
    following = sa.select(products).where(*where).order_by(*_order(products, sort)).limit(_SCANNED).subquery()
    return _page(following, sort, _where(following, sort, given - _PLACE, hidden=True), plan_each=True)


def _chosen(sort: str, given: frozenset[str], *, hidden: bool) -> sa.Select[Any]:
    """The ids of a page. Selected on their own, they come from an index alone: that of the order or that of prices."""
    rows = products.alias()
    where = _where(rows, sort, given, hidden=hidden)
    return sa.select(rows.c.id).where(*where).order_by(*_order(rows, sort)).limit(_LIMIT)


@cache
def _search(*, sort: str, given: frozenset[str], hidden: bool) -> Statement[ProductView]:
    """A page of a search for a rare word: find all its products, then sort them."""
    where = _where(products, sort, given, hidden=hidden)
    found = sa.select(products).where(*where).offset(_FENCE).subquery()
    return _page(found, sort, [], plan_each=True)


def _page(
    rows: sa.FromClause, sort: str, where: Sequence[sa.ColumnElement[bool]], *, plan_each: bool
) -> Statement[ProductView]:
    columns = (rows.c[name] for name in ProductView.__dataclass_fields__)
    select = sa.select(*columns).where(*where).order_by(*_order(rows, sort)).limit(_LIMIT)
    return Statement(select, ProductView, plan_each=plan_each)


def _order(rows: sa.FromClause, sort: str) -> Sequence[sa.ColumnElement[Any]]:
    key = _sorted(rows, sort), rows.c.id
    return [column.desc() for column in key] if sort.startswith("-") else key


def _sorted(rows: sa.FromClause, sort: str) -> sa.ColumnElement[Any]:
    return rows.c["name_key" if sort == "name" else sort.removeprefix("-")]


def _where(rows: sa.FromClause, sort: str, given: frozenset[str], *, hidden: bool) -> Sequence[sa.ColumnElement[bool]]:
    column, price = _sorted(rows, sort), rows.c.price
    key, last = sa.tuple_(column, rows.c.id), sa.tuple_(sa.bindparam("last", type_=column.type), _ID)
    conditions = {
        "q": rows.c.words.op("@@")(sa.cast(sa.bindparam("q", type_=sa.Text), TSQUERY)),
        "min_price": price >= sa.bindparam("min_price", type_=price.type),
        "max_price": price <= sa.bindparam("max_price", type_=price.type),
        "in_stock": rows.c.in_stock == sa.bindparam("in_stock", type_=sa.Boolean),
        "is_active": rows.c.is_active == sa.bindparam("is_active", type_=sa.Boolean),
        "last": key < last if sort.startswith("-") else key > last,
    }
    chosen = [condition for name, condition in conditions.items() if name in given]
    return chosen if hidden else [*chosen, rows.c.is_active]


_MOVEMENTS = (
    sa.select(*(stock_movements.c[name] for name in MovementView.__dataclass_fields__))
    .where(stock_movements.c.product_id == sa.bindparam("product_id", type_=sa.Uuid))
    .order_by(stock_movements.c.position.desc())
    .limit(_LIMIT)
)
_LAST_POSITION = sa.select(stock_movements.c.position).where(stock_movements.c.id == _ID).scalar_subquery()
_NEWEST_MOVEMENTS = Statement(_MOVEMENTS, MovementView)
_OLDER_MOVEMENTS = Statement(_MOVEMENTS.where(stock_movements.c.position < _LAST_POSITION), MovementView)


@queries.on(ListMovements)
def list_movements(query: ListMovements, connection: ReadConnection) -> Page[MovementView]:
    """A page of a product's stock ledger."""
    get_product(GetProduct(query.product_id, hidden=True), connection)
    limit = query.limit + 1
    if query.after:
        rows = _OLDER_MOVEMENTS.all(connection, product_id=query.product_id, limit=limit, id=query.after[0])
    else:
        rows = _NEWEST_MOVEMENTS.all(connection, product_id=query.product_id, limit=limit)
    return page_of(rows, query.limit, lambda movement: (str(movement.id),))


_OF_IMPORT = import_failures.c.import_id == imports.c.id
_FAILURE = sa.func.jsonb_build_object("line", import_failures.c.line, "problem", import_failures.c.problem)
_FAILURES = sa.func.jsonb_agg(aggregate_order_by(_FAILURE, import_failures.c.line))
_PROGRESS = Statement(
    sa.select(
        imports.c.done,
        imports.c.total,
        sa.select(sa.func.count()).where(_OF_IMPORT).scalar_subquery().label("failed"),
        sa.func.coalesce(sa.select(_FAILURES).where(_OF_IMPORT).scalar_subquery(), sa.text("'[]'")).label("failures"),
    ).where(imports.c.id == _ID),
    Progress,
)


@queries.progress_of("products.import_products")
def import_progress(import_id: UUID, connection: ReadConnection) -> Progress | None:
    """The progress of an import, with every refused row by its line."""
    return _PROGRESS.one(connection, id=import_id)
