"""Commands of the products context."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from backend.contexts.products.domain.product import ProductChanges
from backend.contexts.products.domain.rules import DEFAULT_LOW_STOCK_THRESHOLD
from backend.kernel.messages.message import Command, SyncCommand


@dataclass(frozen=True)
class CreateProduct(Command):
    """Create a product with a SKU that is not taken. A first stock above zero is its first movement."""

    product_id: UUID
    name: str
    price: Decimal
    stock: int
    description: str | None = None
    sku: str | None = None
    low_stock_threshold: int = DEFAULT_LOW_STOCK_THRESHOLD


@dataclass(frozen=True)
class StageImport(SyncCommand[None]):
    """Store an upload before its import is accepted, so that the import cannot be lost.

    Attributes:
        media_type: the format of `content`.
        rows: the number of products in `content`.
    """

    import_id: UUID
    media_type: str
    content: bytes
    rows: int


@dataclass(frozen=True)
class ImportProducts(Command):
    """Create every product of a staged upload. Refused rows are reported; the other products are created."""

    import_id: UUID


@dataclass(frozen=True)
class ProductCommand(Command):
    """A command about an existing product.

    Attributes:
        expected_version: refuse the command for any other version; None accepts any.
    """

    product_id: UUID
    expected_version: int | None


@dataclass(frozen=True)
class UpdateProduct(ProductCommand):
    """Change fields of a product."""

    changes: ProductChanges


@dataclass(frozen=True)
class AddStock(ProductCommand):
    """Add to the stock of a product."""

    movement_id: UUID
    quantity: int
    reason: str | None = None


@dataclass(frozen=True)
class RemoveStock(ProductCommand):
    """Remove from the stock of a product: the whole quantity or nothing."""

    movement_id: UUID
    quantity: int
    reason: str | None = None


@dataclass(frozen=True)
class ActivateProduct(ProductCommand):
    """Show a product to everybody."""


@dataclass(frozen=True)
class DeactivateProduct(ProductCommand):
    """Show a product to administrators only."""
