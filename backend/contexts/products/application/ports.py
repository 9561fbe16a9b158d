"""What the products context needs of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from backend.contexts.products.application.commands import CreateProduct
from backend.contexts.products.domain.product import Product, StockMovement
from backend.kernel.messages.message import Progress
from backend.kernel.messages.refusals import Invalid, Refusal


class Products(Protocol):
    """The products there are."""

    def add(self, product: Product) -> None:
        """Keep a new product.

        Raises:
            SkuTaken: another product has its SKU.
        """

    def get(self, product_id: UUID) -> Product:
        """One product, to be changed; nobody else changes it meanwhile.

        Raises:
            ProductNotFound: there is none.
        """

    def save(self, product: Product) -> None:
        """Keep what describes the product now.

        Raises:
            SkuTaken: another product has its SKU.
        """


class Ledger(Protocol):
    """Every movement of every stock. Nothing in it is ever changed."""

    def add(self, movement: StockMovement) -> None:
        """Write one more line."""


@dataclass(frozen=True)
class ImportedRow:
    """One row of an upload.

    Attributes:
        line: where it begins, counted from 1.
        product: what it asks for, or what is wrong with it.
    """

    line: int
    product: CreateProduct | Invalid


class Imports(Protocol):
    """The uploads whose rows become products."""

    def stage(self, import_id: UUID, media_type: str, content: bytes, rows: int) -> None:
        """Keep an upload, unless it is kept already."""

    def next_rows(self, import_id: UUID, limit: int) -> Sequence[ImportedRow]:
        """The first rows that are not done yet; nobody else does them meanwhile."""

    def advance(self, import_id: UUID, rows: int, refused: Sequence[tuple[int, Refusal]]) -> Progress:
        """Note that so many rows more are done, and which lines of them were refused."""


@dataclass(frozen=True)
class ProductsPorts:
    """What a products handler may reach, opened for one transaction.

    Attributes:
        actor_id: who gave the command.
        accepted_at: when it was accepted.
    """

    products: Products
    ledger: Ledger
    imports: Imports
    actor_id: UUID | None
    accepted_at: datetime
