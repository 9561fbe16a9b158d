"""The bodies of the products context and what its answers look like."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import marshmallow as ma

from backend.contexts.products.application.queries import NEWEST_FIRST, SORTS
from backend.contexts.products.domain import rules
from backend.kernel.http.paging import PageArguments
from backend.kernel.http.schemas import Text, WholeNumber, example, ruled


class Price(ma.fields.String):
    """A decimal text or a number, exact."""

    default_error_messages = {"invalid": "Not a decimal text and not a number."}  # noqa: RUF012 - marshmallow's

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise self.make_error("invalid")
        return ruled(rules.price, value)


class ProductFields(ma.Schema):
    """What describes a product. To change it, every field is optional and `null` clears those that may be empty."""

    name = Text(rules.name, required=True, metadata=example("Laptop HP"))
    description = Text(rules.description, allow_none=True, metadata=example("Laptop HP 15 pulgadas"))
    price = Price(required=True, metadata={**example("899.99", "At most two places."), "type": ["string", "number"]})
    sku = Text(rules.sku, allow_none=True, metadata=example("HP-15", "Unique."))
    low_stock_threshold = WholeNumber(
        rules.low_stock_threshold,
        metadata=example(rules.DEFAULT_LOW_STOCK_THRESHOLD, "Administrators are told when the stock goes this low."),
    )


class NewProduct(ProductFields):
    """A product that shall be offered. From then on its stock moves only through its ledger."""

    stock = WholeNumber(rules.stock, required=True, metadata=example(10))


class NewMovement(ma.Schema):
    """What comes or goes."""

    quantity = WholeNumber(rules.quantity, required=True, metadata=example(3))
    reason = Text(rules.reason, allow_none=True, metadata=example("Order 1042"))


class ProductSchema(ma.Schema):
    """A product."""

    id = ma.fields.UUID(required=True, metadata=example("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"))
    sku = ma.fields.String(required=True, allow_none=True, metadata=example("HP-15"))
    name = ma.fields.String(required=True, metadata=example("Laptop HP"))
    description = ma.fields.String(required=True, allow_none=True, metadata=example("Laptop HP 15 pulgadas"))
    price = ma.fields.String(required=True, metadata=example("899.99", "With two places."))
    stock = ma.fields.Integer(required=True, metadata=example(10))
    low_stock_threshold = ma.fields.Integer(required=True, metadata=example(rules.DEFAULT_LOW_STOCK_THRESHOLD))
    is_active = ma.fields.Boolean(required=True)
    created_at = ma.fields.DateTime(required=True, metadata=example("2026-01-02T03:04:05.678901Z"))
    updated_at = ma.fields.DateTime(required=True, metadata=example("2026-01-02T03:04:05.678901Z"))
    version = ma.fields.Integer(required=True, metadata=example(1))


class ProductPage(ma.Schema):
    """A page of products."""

    items = ma.fields.List(ma.fields.Nested(ProductSchema), required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)


class ProductFilter(PageArguments):
    """Which products to list, and in which order."""

    q = Text(metadata={"description": "Words that are all in the name or the description, in any case and order."})
    min_price = Price(metadata=example("100"))
    max_price = Price(metadata=example("899.99"))
    in_stock = ma.fields.Boolean(metadata={"description": "Those of which there is something, or nothing."})
    is_active = ma.fields.Boolean(metadata={"description": "Administrators see the others as well."})
    sort = ma.fields.String(load_default=NEWEST_FIRST, validate=ma.validate.OneOf(SORTS))


class MovementSchema(ma.Schema):
    """One line of a product's ledger."""

    id = ma.fields.UUID(required=True, metadata=example("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a11"))
    quantity = ma.fields.Integer(required=True, metadata=example(-3, "What came, or below zero: what went."))
    balance = ma.fields.Integer(required=True, metadata=example(7, "What there was after it."))
    reason = ma.fields.String(required=True, allow_none=True, metadata=example("Order 1042"))
    actor_id = ma.fields.UUID(required=True, allow_none=True)
    created_at = ma.fields.DateTime(required=True, metadata=example("2026-01-02T03:04:05.678901Z"))


class MovementPage(ma.Schema):
    """A page of a ledger."""

    items = ma.fields.List(ma.fields.Nested(MovementSchema), required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)
