"""Every order of the listing is read from an index, page by page, never sorted; so is what the filters ask."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest
from uuid_utils.compat import uuid7

from backend.contexts.products.application.queries import SORTS
from backend.contexts.products.infrastructure import queries
from backend.contexts.products.infrastructure.queries import _listing, _search
from backend.kernel.delivery.dispatch import Bus
from tests.client import Client
from tests.contexts.products.conftest import new_product

_LAST = {"created_at": "2026-01-02T03:04:05+00:00", "price": "1.00", "name": "x"}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("hidden", [True, False])
def test_an_index_serves_the_order(bus: Bus, sort: str, *, hidden: bool) -> None:
    plan = _plan(bus, sort, {}, hidden=hidden)
    assert f"products_{'name_key' if sort == 'name' else sort.removeprefix('-')}_id_idx" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("sort", SORTS)
def test_an_index_alone_knows_what_the_filters_ask(bus: Bus, sort: str) -> None:
    """Of a million products, many are passed over for a page: reading each of them takes milliseconds."""
    filters = {"min_price": Decimal(1), "max_price": Decimal(2), "in_stock": True, "is_active": True}
    plan = _plan(bus, sort, filters, hidden=False)
    assert "Index Only Scan" in plan
    assert "Seq Scan" not in plan


def test_a_movement_of_stock_writes_to_no_index(bus: Bus, admin: Client) -> None:
    """As long as something is left: what is in an index follows the stock in no other way."""
    new_product(admin, stock=10)
    with psycopg.connect(bus.database.url) as connection:
        for stock in (9, 8, 7):
            connection.execute("update products set stock = %s, version = version + 1", (stock,))
        row = connection.execute("select pg_stat_get_xact_tuples_hot_updated('products'::regclass)").fetchone()
    assert row is not None
    assert row[0] >= 2, "at most one had to move to a page with more room"


def _plan(bus: Bus, sort: str, filters: dict[str, Any], *, hidden: bool) -> str:
    parameters = {**filters, "last": _LAST[sort.removeprefix("-")], "id": uuid7()}
    statement = _listing(sort=sort, given=frozenset(parameters), hidden=hidden)
    with psycopg.connect(bus.database.url) as connection:
        # On a table this small PostgreSQL may read anything and sort it; which, depends on its last ANALYZE.
        connection.execute("set enable_seqscan = off")
        connection.execute("set enable_bitmapscan = off")
        explained = connection.execute(
            b"explain " + statement._sql,  # noqa: SLF001
            {**statement._defaults, **parameters, "limit": 21},  # noqa: SLF001
        )
        return "\n".join(line for (line,) in explained)


def test_a_search_for_a_rare_word_is_answered_by_the_index_of_words(bus: Bus) -> None:
    """Whatever PostgreSQL believes of the word: it would look through the whole table otherwise."""
    statement = _search(sort="-created_at", given=frozenset({"q"}), hidden=False)
    with psycopg.connect(bus.database.url) as connection:
        explained = connection.execute(
            b"explain " + statement._sql,  # noqa: SLF001
            {**statement._defaults, "q": "rare", "limit": 21},  # noqa: SLF001
        ).fetchall()
    assert "products_created_at_id_idx" not in str(explained)


@pytest.mark.parametrize("looked_through", [0, 2, 10_000])
def test_a_search_finds_the_same_however_far_it_looks_at_first(
    admin: Client, monkeypatch: pytest.MonkeyPatch, looked_through: int
) -> None:
    for name in ("Laptop 1", "Mouse 1", "Laptop 2", "Mouse 2", "Laptop 3"):
        new_product(admin, name=name)
    monkeypatch.setattr(queries, "_SCANNED", looked_through)
    queries._listing.cache_clear()  # noqa: SLF001

    found, url = [], "/api/v1/products?q=laptop&limit=1&sort=created_at"
    while url:
        page = admin.get(url)
        found += [product["name"] for product in page.json["items"]]
        url = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert found == ["Laptop 1", "Laptop 2", "Laptop 3"]
    queries._listing.cache_clear()  # noqa: SLF001
