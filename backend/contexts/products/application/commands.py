"""Commands of the products context."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.contexts.products.domain.product import ProductChanges, ProductFields
from backend.kernel.messages.message import Command, SyncCommand


@dataclass(frozen=True)
class NewProduct(Command):
    """What a product has beside its fields when it is created."""

    product_id: UUID
    stock: int


@dataclass(frozen=True)
class CreateProduct(ProductFields, NewProduct):
    """Create a product with a SKU that is not taken. A first stock above zero is its first movement."""


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
