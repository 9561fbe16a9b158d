"""The commands of products under fire."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.chaos.subjects import counts
from tests.chaos.world import World


class StockAdditions:
    """POST /products/{id}/stock/add: an effect that shows when it happens twice."""

    def prepare(self, world: World) -> None:
        """An administrator, and a product."""
        self._headers = world.sign_in()
        api = world.client(0)
        product = {"name": "Chaos", "price": "1.00", "stock": 0}
        created = api.post("/api/v1/products", product, Prefer="wait=10", **self._headers)
        assert created.status == 201, created.content
        self._product = created.body["id"]

    def request(self, number: int) -> tuple[str, dict[str, Any], dict[str, str]]:
        """One more, for a reason that tells which."""
        path = f"/api/v1/products/{self._product}/stock/add"
        return path, {"quantity": 1, "reason": f"chaos {number}"}, self._headers

    def effects(self, database: psycopg.Connection[Any]) -> list[int]:
        """Movements by reason; the stock must be their sum."""
        found = counts(
            database, "select count(*) from stock_movements where product_id = %s group by reason", self._product
        )
        stock = database.execute("select stock from products where id = %s", (self._product,)).fetchone()
        assert stock is not None
        assert stock[0] == sum(found), "stock and ledger disagree"
        return found


SUBJECTS = {"stock": StockAdditions}
