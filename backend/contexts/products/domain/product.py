"""A product: its fields, and the rules of its stock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, TypedDict
from uuid import UUID

from backend.contexts.products.domain import rules
from backend.contexts.products.domain.errors import InsufficientStock, StockTooLarge
from backend.contexts.products.domain.events import (
    ProductActivated,
    ProductCreated,
    ProductDeactivated,
    ProductUpdated,
    StockChanged,
    StockLow,
)
from backend.kernel.messages.aggregate import FieldRules, LastWriteWins


@dataclass(frozen=True)
class ProductFields:
    """The fields that describe a product. One that is added needs a default: commands in the queue do not have it."""

    name: str
    price: Decimal
    description: str | None = None
    sku: str | None = None
    low_stock_threshold: int = rules.DEFAULT_LOW_STOCK_THRESHOLD


class ProductChanges(TypedDict, total=False):
    """Changes of a product. An absent field stays as it is."""

    name: str
    price: Decimal
    description: str | None
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

    def __post_init__(self) -> None:
        if not self.quantity or self.balance < 0:
            raise ValueError("a movement moves the stock, and not below zero")


@dataclass(eq=False)
class Product(LastWriteWins):
    """Something that is sold.

    Attributes:
        sku: the seller's stock keeping unit; unique.
        price: exact, with two decimal places.
        stock: the balance of the last movement; never below zero.
        version: raised by the mapper with each change.
        name_key: the name, as the listing by name sorts it.
        words: by which a search finds it, separated by spaces.
    """

    field_rules: ClassVar[FieldRules] = {
        "name": rules.name,
        "price": rules.price,
        "description": rules.description,
        "sku": rules.sku,
        "low_stock_threshold": rules.low_stock_threshold,
        "stock": rules.stock,
    }

    id: UUID
    name: str
    price: Decimal
    description: str | None
    sku: str | None
    low_stock_threshold: int
    stock: int = 0
    is_active: bool = True
    version: int = field(init=False)
    name_key: str = field(init=False)
    words: str = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._index()

    @classmethod
    def create(cls, product_id: UUID, fields: ProductFields) -> Product:
        """A new, active product with an empty stock."""
        product = cls(product_id, **{name: getattr(fields, name) for name in ProductFields.__dataclass_fields__})
        product.record(ProductCreated(product_id, product.name, product.price, product.sku))
        return product

    def first_stock(self, quantity: int, actor_id: UUID | None) -> list[StockMovement]:
        """The first movement, with the product's id; none for a stock of zero."""
        return [self.move_stock(self.id, quantity, None, actor_id)] if quantity else []

    def change(self, changes: ProductChanges, accepted_at: datetime) -> None:
        """Change the given fields, except those that a later command has changed already."""
        changed = self.write(changes, accepted_at)
        if changed:
            self._index()
            self.record(ProductUpdated(self.id, changed))

    def move_stock(self, movement_id: UUID, quantity: int, reason: str | None, actor_id: UUID | None) -> StockMovement:
        """Move the stock by `quantity`, up or down; returns the line for the ledger.

        Raises:
            InsufficientStock, StockTooLarge: the stock would fall below zero, or exceed `LARGEST_COUNT`.
        """
        before, balance = self.stock, self.stock + quantity
        if balance < 0:
            raise InsufficientStock
        if balance > rules.LARGEST_COUNT:
            raise StockTooLarge
        self.stock = balance
        self.record(StockChanged(self.id, movement_id, quantity, balance))
        if before > self.low_stock_threshold >= balance:
            self.record(StockLow(self.id, self.name, self.sku, balance, self.low_stock_threshold))
        return StockMovement(movement_id, self.id, quantity, balance, reason, actor_id)

    def activate(self, accepted_at: datetime) -> None:
        """Show it to everybody."""
        if self.write({"is_active": True}, accepted_at):
            self.record(ProductActivated(self.id))

    def deactivate(self, accepted_at: datetime) -> None:
        """Show it to administrators only."""
        if self.write({"is_active": False}, accepted_at):
            self.record(ProductDeactivated(self.id))

    def _index(self) -> None:
        self.name_key, self.words = rules.search_keys(self.name, self.description)
