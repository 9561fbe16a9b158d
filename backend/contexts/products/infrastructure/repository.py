"""The stored products and their stock ledger, in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from backend.contexts.products.domain.errors import ProductNotFound, SkuTaken
from backend.contexts.products.domain.product import Product, StockMovement
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.postgres.statements import run

_TAKEN = {"products_sku_key": SkuTaken}
_ADD_MOVEMENT = """
insert into stock_movements (id, product_id, quantity, balance, reason, actor_id)
values (%(id)s, %(product_id)s, %(quantity)s, %(balance)s, %(reason)s, %(actor_id)s)
"""


class SqlProducts:
    """`Products` within one unit of work. The unique constraint decides every race for a SKU."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def add(self, product: Product) -> None:
        """Insert a new product. The savepoint lets an import continue after a refused product."""
        with self._unit.refusing(_TAKEN), self._unit.session.begin_nested():
            self._unit.session.add(product)
        self._unit.track(product)

    def get(self, product_id: UUID) -> Product:
        """One product, locked until the transaction ends."""
        product = self._unit.session.get(Product, product_id, with_for_update=True)
        if product is None:
            raise ProductNotFound
        return self._unit.track(product)

    def save(self, product: Product) -> None:
        """Write the changes now, so that a violated constraint raises here."""
        with self._unit.refusing(_TAKEN):
            self._unit.session.flush()


class SqlStockLedger:
    """`Ledger` within one unit of work."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def add(self, movement: StockMovement) -> None:
        """Insert a line."""
        run(self._unit.connection, _ADD_MOVEMENT, vars(movement))
