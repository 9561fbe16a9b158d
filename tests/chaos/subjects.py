"""The commands under fire. To try one of your own, write such a class and name it in SUBJECTS."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import uuid4

import psycopg

from tests.chaos.world import World


class Subject(Protocol):
    """A command, many times over, and how to count what became of it."""

    def prepare(self, world: World) -> None:
        """Make what the commands need."""

    def request(self, number: int) -> tuple[str, dict[str, Any], dict[str, str]]:
        """Path, body and headers of the command of that number; it is repeated with the same Idempotency-Key."""

    def effects(self, database: psycopg.Connection[Any]) -> list[int]:
        """How often each command took effect, for those that did at all."""


class Registrations:
    """POST /users: hashed, persisted, told by an event."""

    def prepare(self, world: World) -> None:
        """A new address each."""
        self._run = uuid4().hex

    def request(self, number: int) -> tuple[str, dict[str, Any], dict[str, str]]:
        """Somebody new."""
        email = f"{self._run}-{number}@example.com"
        return "/api/v1/users", {"name": "Ada", "email": email, "password": "correct horse battery"}, {}

    def effects(self, database: psycopg.Connection[Any]) -> list[int]:
        """Users by address."""
        return _counts(
            database, "select count(*) from users where email like %s group by email", f"{self._run}-%@example.com"
        )


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
        counts = _counts(
            database, "select count(*) from stock_movements where product_id = %s group by reason", self._product
        )
        stock = database.execute("select stock from products where id = %s", (self._product,)).fetchone()
        assert stock is not None
        assert stock[0] == sum(counts), "stock and ledger disagree"
        return counts


SUBJECTS: dict[str, type[Subject]] = {"users": Registrations, "stock": StockAdditions}


def _counts(database: psycopg.Connection[Any], statement: str, parameter: str) -> list[int]:
    return [row[0] for row in database.execute(statement.encode(), (parameter,))]
