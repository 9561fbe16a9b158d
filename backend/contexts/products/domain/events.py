"""Events of the products context: what other contexts may use."""

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
    """A product was created. Its first stock, if any, follows as StockChanged."""

    name: str
    price: Decimal
    sku: str | None = None


@dataclass(frozen=True)
class ProductUpdated(ProductEvent):
    """Fields of the product changed.

    Attributes:
        changed: the names of the changed fields.
    """

    changed: list[str]


@dataclass(frozen=True)
class ProductActivated(ProductEvent):
    """Everybody can see the product again."""


@dataclass(frozen=True)
class ProductDeactivated(ProductEvent):
    """Only administrators can see the product."""


@dataclass(frozen=True)
class StockChanged(ProductEvent):
    """The stock moved.

    Attributes:
        quantity: above zero: added; below zero: removed.
        stock: the stock after the movement.
    """

    movement_id: UUID
    quantity: int
    stock: int


@dataclass(frozen=True)
class StockLow(ProductEvent):
    """The stock fell from above the threshold to it or below. Recorded once per crossing."""

    name: str
    sku: str | None
    stock: int
    threshold: int
