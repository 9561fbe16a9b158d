"""Request and response bodies of the products context."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from backend.contexts.products.application.queries import NEWEST_FIRST, SORTS
from backend.contexts.products.domain import rules
from backend.kernel.http.paging import PageArguments
from backend.kernel.http.schemas import ExactDecimal, Text, WholeNumber, example

_PRICE: dict[str, Any] = {"pattern": "^[0-9]{1,10}(\\.[0-9]{1,2})?$"}
_EXACT: dict[str, Any] = {"pattern": "^[0-9]+\\.[0-9]{2}$"}
_NUMBER: dict[str, Any] = {"type": ["string", "number"], "minimum": 0, "maximum": float(rules.HIGHEST_PRICE)}


class ProductFields(ma.Schema):
    """Fields of a product. In a change every field is optional, and `null` clears a nullable one."""

    name = Text(rules.name, required=True, metadata=example("Laptop HP", minLength=1, maxLength=200))
    description = Text(rules.description, allow_none=True, metadata=example("Laptop HP 15 pulgadas", maxLength=5000))
    price = ExactDecimal(
        rules.price, required=True, metadata=example("899.99", "Up to two decimal places.", **_PRICE, **_NUMBER)
    )
    sku = Text(rules.sku, allow_none=True, metadata=example("HP-15", "Unique.", minLength=1, maxLength=64))
    low_stock_threshold = WholeNumber(
        rules.low_stock_threshold,
        metadata=example(
            rules.DEFAULT_LOW_STOCK_THRESHOLD,
            "When the stock falls to this, administrators get a mail.",
            minimum=0,
            maximum=rules.LARGEST_COUNT,
        ),
    )


class NewProduct(ProductFields):
    """A new product. Later its stock changes only through stock movements."""

    stock = WholeNumber(rules.stock, required=True, metadata=example(10, minimum=0, maximum=rules.LARGEST_COUNT))


class NewMovement(ma.Schema):
    """A stock movement."""

    quantity = WholeNumber(rules.quantity, required=True, metadata=example(3, minimum=1, maximum=rules.LARGEST_COUNT))
    reason = Text(rules.reason, allow_none=True, metadata=example("Order 1042", maxLength=200))


class ProductSchema(ma.Schema):
    """A product."""

    id = ma.fields.UUID(required=True, metadata=example("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"))
    sku = ma.fields.String(required=True, allow_none=True, metadata=example("HP-15"))
    name = ma.fields.String(required=True, metadata=example("Laptop HP"))
    description = ma.fields.String(required=True, allow_none=True, metadata=example("Laptop HP 15 pulgadas"))
    price = ma.fields.String(required=True, metadata=example("899.99", "With two decimal places.", **_EXACT))
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
    """Filters and order of the list of products."""

    q = Text(metadata={"description": "Words that must all occur in name or description, in any case and order."})
    min_price = ExactDecimal(rules.price, metadata=example("100", **_PRICE))
    max_price = ExactDecimal(rules.price, metadata=example("899.99", **_PRICE))
    in_stock = ma.fields.Boolean(metadata={"description": "Whether the stock is above zero."})
    is_active = ma.fields.Boolean(metadata={"description": "Only administrators see inactive products."})
    sort = ma.fields.String(load_default=NEWEST_FIRST, validate=ma.validate.OneOf(SORTS))


class MovementSchema(ma.Schema):
    """One line of a product's stock ledger."""

    id = ma.fields.UUID(required=True, metadata=example("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a11"))
    quantity = ma.fields.Integer(required=True, metadata=example(-3, "Above zero: added. Below zero: removed."))
    balance = ma.fields.Integer(required=True, metadata=example(7, "The stock after the movement."))
    reason = ma.fields.String(required=True, allow_none=True, metadata=example("Order 1042"))
    actor_id = ma.fields.UUID(required=True, allow_none=True)
    created_at = ma.fields.DateTime(required=True, metadata=example("2026-01-02T03:04:05.678901Z"))


class MovementPage(ma.Schema):
    """A page of a stock ledger."""

    items = ma.fields.List(ma.fields.Nested(MovementSchema), required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)
