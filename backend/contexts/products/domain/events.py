"""What other contexts may know of products: the published language."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from backend.kernel.messages.event import Event


@dataclass(frozen=True)
class ProductEvent(Event):
    """Something happened to a product."""

    product_id: UUID

    @property
    def subject(self) -> str:
        """The product's id."""
        return str(self.product_id)


@dataclass(frozen=True)
class ProductCreated(ProductEvent):
    """There is a new product. Its first stock, if any, follows as StockChanged."""

    name: str
    price: Decimal
    sku: str | None = None


@dataclass(frozen=True)
class ProductUpdated(ProductEvent):
    """Some of what describes it changed.

    Attributes:
        changed: the names of the fields that have another value now.
    """

    changed: list[str]


@dataclass(frozen=True)
class ProductActivated(ProductEvent):
    """Everybody may see it again."""


@dataclass(frozen=True)
class ProductDeactivated(ProductEvent):
    """Only administrators see it from now on."""


@dataclass(frozen=True)
class StockChanged(ProductEvent):
    """The ledger has a new movement.

    Attributes:
        quantity: what came (above zero) or went (below).
        stock: what there is after it.
    """

    movement_id: UUID
    quantity: int
    stock: int


@dataclass(frozen=True)
class StockLow(ProductEvent):
    """The stock went from above the threshold to it or below. Said once per crossing."""

    name: str
    sku: str | None
    stock: int
    threshold: int
