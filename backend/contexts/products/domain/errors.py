"""The ways the products context says no."""

from backend.kernel.messages.refusals import Conflict, NotFound


class SkuTaken(Conflict):
    """Another product has this SKU."""


class InsufficientStock(Conflict):
    """There is less in stock than should be removed. Nothing was changed."""


class StockTooLarge(Conflict):
    """The stock would exceed 2147483647. Nothing was changed."""


class ProductNotFound(NotFound):
    """There is no such product."""
