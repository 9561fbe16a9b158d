"""What this context reads of other contexts' events, by their wire names and fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from backend.kernel.messages.event import Event


@dataclass(frozen=True)
class StockLow(Event):
    """A product's stock went down to its threshold, or below."""

    reads: ClassVar[str] = "products.stock_low.v1"

    product_id: UUID
    name: str
    sku: str | None
    stock: int
    threshold: int
