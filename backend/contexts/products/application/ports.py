"""Ports of the products context."""

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
    """The stored products."""

    def add(self, product: Product) -> None:
        """Store a new product.

        Raises:
            SkuTaken: another product has its SKU.
        """

    def get(self, product_id: UUID) -> Product:
        """One product, to be changed; locked against other changes.

        Raises:
            ProductNotFound: it does not exist.
        """

    def save(self, product: Product) -> None:
        """Store the changed fields of the product.

        Raises:
            SkuTaken: another product has its SKU.
        """


class Ledger(Protocol):
    """Every stock movement. A line is never changed."""

    def add(self, movement: StockMovement) -> None:
        """Add a line."""


@dataclass(frozen=True)
class ImportedRow:
    """One row of an upload.

    Attributes:
        line: the line at which it begins, counted from 1.
        product: the command of the row, or what is wrong with it.
    """

    line: int
    product: CreateProduct | Invalid


class Imports(Protocol):
    """The staged uploads of imports."""

    def stage(self, import_id: UUID, media_type: str, content: bytes, rows: int) -> None:
        """Store an upload, unless it is stored already."""

    def next_rows(self, import_id: UUID, limit: int) -> Sequence[ImportedRow]:
        """The first unprocessed rows; locked against other workers."""

    def advance(self, import_id: UUID, rows: int, refused: Sequence[tuple[int, Refusal]]) -> Progress:
        """Record that more rows are processed, and which lines were refused."""


@dataclass(frozen=True)
class ProductsPorts:
    """The ports of a products handler, opened for one transaction.

    Attributes:
        actor_id: the user who sent the command.
        accepted_at: when it was accepted.
    """

    products: Products
    ledger: Ledger
    imports: Imports
    actor_id: UUID | None
    accepted_at: datetime
