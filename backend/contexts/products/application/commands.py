"""What may be ordered of the products context."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from backend.contexts.products.domain.product import ProductChanges
from backend.contexts.products.domain.rules import DEFAULT_LOW_STOCK_THRESHOLD
from backend.kernel.messages.message import Command, SyncCommand


@dataclass(frozen=True)
class CreateProduct(Command):
    """Offer a new product, under a SKU no other has. A first stock above zero is its first movement."""

    product_id: UUID
    name: str
    price: Decimal
    stock: int
    description: str | None = None
    sku: str | None = None
    low_stock_threshold: int = DEFAULT_LOW_STOCK_THRESHOLD


@dataclass(frozen=True)
class StageImport(SyncCommand[None]):
    """Keep an upload, so that the import that is promised next cannot be lost.

    Attributes:
        media_type: how `content` is to be read.
        rows: how many products `content` holds.
    """

    import_id: UUID
    media_type: str
    content: bytes
    rows: int


@dataclass(frozen=True)
class ImportProducts(Command):
    """Offer every product of a staged upload. A row that is refused is reported, the rest are offered."""

    import_id: UUID


@dataclass(frozen=True)
class ProductCommand(Command):
    """An order about a product there is.

    Attributes:
        expected_version: refuse the order for any other version; None: whatever the version.
    """

    product_id: UUID
    expected_version: int | None


@dataclass(frozen=True)
class UpdateProduct(ProductCommand):
    """Describe a product anew."""

    changes: ProductChanges


@dataclass(frozen=True)
class AddStock(ProductCommand):
    """Something came in."""

    movement_id: UUID
    quantity: int
    reason: str | None = None


@dataclass(frozen=True)
class RemoveStock(ProductCommand):
    """Something goes out: all of it or nothing."""

    movement_id: UUID
    quantity: int
    reason: str | None = None


@dataclass(frozen=True)
class ActivateProduct(ProductCommand):
    """Let everybody see a product."""


@dataclass(frozen=True)
class DeactivateProduct(ProductCommand):
    """Let only administrators see a product."""
