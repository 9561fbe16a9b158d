"""What may be asked of the products context, and the views that answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from backend.kernel.messages.message import Query
from backend.kernel.messages.paging import Page

NEWEST_FIRST = "-created_at"
SORTS = ("created_at", NEWEST_FIRST, "price", "-price", "name")
"""The orders a listing of products may have; `-` is descending."""


@dataclass(frozen=True)
class ProductView:
    """All there is to see of a product."""

    id: UUID
    sku: str | None
    name: str
    description: str | None
    price: Decimal
    stock: int
    low_stock_threshold: int
    is_active: bool
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True)
class MovementView:
    """One line of a product's ledger.

    Attributes:
        quantity: what came (above zero) or went (below).
        balance: what there was after it.
    """

    id: UUID
    quantity: int
    balance: int
    reason: str | None
    actor_id: UUID | None
    created_at: datetime


@dataclass(frozen=True)
class GetProduct(Query[ProductView]):
    """One product by id. Refused with ProductNotFound.

    Attributes:
        hidden: find it even when it is not active.
    """

    product_id: UUID
    hidden: bool = False


@dataclass(frozen=True)
class ListProducts(Query[Page[ProductView]]):
    """Products in one of `SORTS`.

    Attributes:
        hidden: list those that are not active as well.
        after: where the page before ended.
        q: words that are all in the name or the description, in any case and order.
        in_stock: only those of which there is something, or nothing.
    """

    limit: int
    hidden: bool = False
    sort: str = NEWEST_FIRST
    after: tuple[Any, ...] | None = None
    q: str | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    in_stock: bool | None = None
    is_active: bool | None = None


@dataclass(frozen=True)
class ListMovements(Query[Page[MovementView]]):
    """A product's ledger, newest first. Refused with ProductNotFound.

    Attributes:
        after: where the page before ended.
    """

    product_id: UUID
    limit: int
    after: tuple[Any, ...] | None = None
