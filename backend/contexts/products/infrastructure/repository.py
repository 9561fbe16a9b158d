"""The stored products and their stock ledger, in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from backend.contexts.products.domain.errors import ProductNotFound, SkuTaken
from backend.contexts.products.domain.product import Product, StockMovement
from backend.kernel.delivery.unit_of_work import UnitOfWork

_TAKEN = {"products_sku_key": SkuTaken}
_ADD_MOVEMENT = """
insert into stock_movements (id, product_id, quantity, balance, reason, actor_id)
select id, product_id, quantity, balance, reason, actor_id from rows from (jsonb_to_recordset(%(rows)s) as
    (id uuid, product_id uuid, quantity int, balance int, reason text, actor_id uuid)) with ordinality
order by ordinality
"""


class SqlProducts:
    """`Products` within one unit of work. The unique constraint decides every race for a SKU."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def add(self, product: Product) -> None:
        """Insert a new product. An import continues after a refused one."""
        self._unit.add(product, _TAKEN)
        self._unit.track(product)

    def get(self, product_id: UUID) -> Product:
        """One product, locked until the transaction ends."""
        product = self._unit.locked(Product, product_id)
        if product is None:
            raise ProductNotFound
        return self._unit.track(product)

    def save(self, product: Product) -> None:
        """Write the changes."""
        self._unit.save(_TAKEN)


class SqlStockLedger:
    """`Ledger` within one unit of work."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def add(self, movement: StockMovement) -> None:
        """Insert a line."""
        self._unit.insert(_ADD_MOVEMENT, vars(movement))
