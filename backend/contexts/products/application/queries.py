"""Queries of the products context, and their views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from backend.contexts.products.domain.product import ProductFields
from backend.kernel.messages.message import Query
from backend.kernel.messages.paging import Page

NEWEST_FIRST = "-created_at"
SORTS = ("created_at", NEWEST_FIRST, "price", "-price", "name")
"""The orders of the list of products; `-` is descending."""


@dataclass(frozen=True)
class StoredProduct:
    """What is stored of a product beside its fields."""

    id: UUID
    stock: int
    is_active: bool
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True)
class ProductView(ProductFields, StoredProduct):
    """A product."""


@dataclass(frozen=True)
class MovementView:
    """One line of a product's stock ledger.

    Attributes:
        quantity: above zero: added; below zero: removed.
        balance: the stock after the movement.
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
        hidden: find it even if it is not active.
    """

    product_id: UUID
    hidden: bool = False


@dataclass(frozen=True)
class ListProducts(Query[Page[ProductView]]):
    """Products in one of `SORTS`.

    Attributes:
        hidden: list inactive products as well.
        after: where the previous page ended.
        q: words that must all occur in name or description, in any case and order.
        in_stock: whether the stock is above zero.
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
    """A product's stock ledger, newest first. Refused with ProductNotFound.

    Attributes:
        after: where the previous page ended.
    """

    product_id: UUID
    limit: int
    after: tuple[Any, ...] | None = None
