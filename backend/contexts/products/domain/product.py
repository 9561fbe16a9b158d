"""A product: its fields, and the rules of its stock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypedDict, cast
from uuid import UUID

from backend.contexts.products.domain.errors import InsufficientStock, StockTooLarge
from backend.contexts.products.domain.events import (
    ProductActivated,
    ProductCreated,
    ProductDeactivated,
    ProductUpdated,
    StockChanged,
    StockLow,
)
from backend.contexts.products.domain.rules import LARGEST_COUNT
from backend.kernel.messages.aggregate import LastWriteWins


class ProductChanges(TypedDict, total=False):
    """Changes of a product. An absent field stays as it is."""

    name: str
    description: str | None
    price: Decimal
    sku: str | None
    low_stock_threshold: int


@dataclass(frozen=True)
class StockMovement:
    """One line of the stock ledger. It is never changed.

    Attributes:
        id: the id of the operation that moved the stock.
        quantity: above zero: added; below zero: removed.
        balance: the stock after the movement.
        actor_id: the user who sent the command.
    """

    id: UUID
    product_id: UUID
    quantity: int
    balance: int
    reason: str | None
    actor_id: UUID | None


class Product(LastWriteWins):
    """Something that is sold.

    Attributes:
        sku: the seller's stock keeping unit; unique.
        price: exact, with two decimal places.
        stock: the balance of the last movement; never below zero.
        version: raised by the mapper with each change.
    """

    id: UUID
    sku: str | None
    name: str
    description: str | None
    price: Decimal
    stock: int
    low_stock_threshold: int
    is_active: bool
    version: int

    @classmethod
    def create(  # noqa: PLR0913 - a product has that many fields
        cls,
        product_id: UUID,
        name: str,
        price: Decimal,
        *,
        description: str | None,
        sku: str | None,
        low_stock_threshold: int,
    ) -> Product:
        """A new, active product with an empty stock."""
        product = cls()
        product.id, product.name, product.price = product_id, name, price
        product.description, product.sku = description, sku
        product.low_stock_threshold, product.stock, product.is_active = low_stock_threshold, 0, True
        product.written = {}
        product.record(ProductCreated(product_id, name, price, sku))
        return product

    def first_stock(self, quantity: int, actor_id: UUID | None) -> list[StockMovement]:
        """The first movement, with the product's id; none for a stock of zero."""
        return [self.move_stock(self.id, quantity, None, actor_id)] if quantity else []

    def change(self, changes: ProductChanges, accepted_at: datetime) -> None:
        """Change the given fields, except those that a later command has changed already."""
        newest = self.newest(cast("Mapping[str, object]", changes), accepted_at)
        changed = sorted(name for name, value in newest.items() if getattr(self, name) != value)
        for name, value in newest.items():
            setattr(self, name, value)
        if changed:
            self.record(ProductUpdated(self.id, changed))

    def move_stock(self, movement_id: UUID, quantity: int, reason: str | None, actor_id: UUID | None) -> StockMovement:
        """Move the stock by `quantity`, up or down; returns the line for the ledger.

        Raises:
            InsufficientStock, StockTooLarge: the stock would fall below zero, or exceed `LARGEST_COUNT`.
        """
        before, balance = self.stock, self.stock + quantity
        if balance < 0:
            raise InsufficientStock
        if balance > LARGEST_COUNT:
            raise StockTooLarge
        self.stock = balance
        self.record(StockChanged(self.id, movement_id, quantity, balance))
        if before > self.low_stock_threshold >= balance:
            self.record(StockLow(self.id, self.name, self.sku, balance, self.low_stock_threshold))
        return StockMovement(movement_id, self.id, quantity, balance, reason, actor_id)

    def activate(self, accepted_at: datetime) -> None:
        """Show it to everybody."""
        if self.newest({"is_active": True}, accepted_at) and not self.is_active:
            self.is_active = True
            self.record(ProductActivated(self.id))

    def deactivate(self, accepted_at: datetime) -> None:
        """Show it to administrators only."""
        if self.newest({"is_active": False}, accepted_at) and self.is_active:
            self.is_active = False
            self.record(ProductDeactivated(self.id))
