"""Refusals of the products context."""

from backend.kernel.messages.refusals import Conflict, NotFound


class SkuTaken(Conflict):
    """Another product has this SKU."""


class InsufficientStock(Conflict):
    """Not enough stock. Nothing was changed."""


class StockTooLarge(Conflict):
    """The stock would exceed 2147483647. Nothing was changed."""


class ProductNotFound(NotFound):
    """The product does not exist."""
