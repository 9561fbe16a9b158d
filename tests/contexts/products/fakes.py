"""The products context's ports, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from backend.contexts.products.application.ports import ImportedRow, ProductsPorts
from backend.contexts.products.domain.errors import ProductNotFound, SkuTaken
from backend.contexts.products.domain.product import Product, StockMovement
from backend.kernel.messages.message import Progress
from backend.kernel.messages.refusals import Refusal


class InMemoryProducts:
    """`Products` as a dict."""

    def __init__(self) -> None:
        self._products: dict[UUID, Product] = {}

    def add(self, product: Product) -> None:
        self.save(product)
        product.version = 1
        self._products[product.id] = product

    def get(self, product_id: UUID) -> Product:
        if product_id not in self._products:
            raise ProductNotFound
        return self._products[product_id]

    def save(self, product: Product) -> None:
        skus = {other.sku for other in self._products.values() if other.id != product.id and other.sku}
        if product.sku in skus:
            raise SkuTaken


class InMemoryLedger:
    """`Ledger` as a list."""

    def __init__(self) -> None:
        self.movements: list[StockMovement] = []

    def add(self, movement: StockMovement) -> None:
        self.movements.append(movement)


class InMemoryImports:
    """`Imports` as lists of rows."""

    def __init__(self) -> None:
        self.rows: dict[UUID, list[ImportedRow]] = {}
        self.refused: list[tuple[int, str]] = []
        self._done: dict[UUID, int] = {}

    def stage(self, import_id: UUID, media_type: str, content: bytes, rows: int) -> None:
        raise NotImplementedError

    def next_rows(self, import_id: UUID, limit: int) -> Sequence[ImportedRow]:
        done = self._done.get(import_id, 0)
        return self.rows[import_id][done : done + limit]

    def advance(self, import_id: UUID, rows: int, refused: Sequence[tuple[int, Refusal]]) -> Progress:
        self._done[import_id] = self._done.get(import_id, 0) + rows
        self.refused += [(line, refusal.code()) for line, refusal in refused]
        return Progress(self._done[import_id], len(self.rows[import_id]), len(self.refused))


class FakePorts(ProductsPorts):
    """The ports of a handler, given a command by `actor_id`."""

    products: InMemoryProducts
    ledger: InMemoryLedger
    imports: InMemoryImports


def fake_ports(actor_id: UUID | None = None, accepted_at: datetime | None = None) -> FakePorts:
    at = accepted_at or datetime.now(UTC)
    return FakePorts(InMemoryProducts(), InMemoryLedger(), InMemoryImports(), actor_id, at)
