"""The products context over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response
from flask.views import MethodView

from backend.contexts.products.application.commands import (
    ActivateProduct,
    AddStock,
    CreateProduct,
    DeactivateProduct,
    ImportProducts,
    RemoveStock,
    StageImport,
    UpdateProduct,
)
from backend.contexts.products.application.queries import (
    GetProduct,
    ListMovements,
    ListProducts,
    MovementView,
    ProductView,
)
from backend.contexts.products.domain.errors import InsufficientStock, ProductNotFound, SkuTaken, StockTooLarge
from backend.contexts.products.domain.product import ProductChanges
from backend.contexts.products.infrastructure import schemas, transfer
from backend.kernel.http.answers import expected_version, resource_response
from backend.kernel.http.api import bus, caller
from backend.kernel.http.commands import Collection, Resource, accepts_command, dispatched, operation_id
from backend.kernel.http.guards import admin_only, looks_for, public
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.http.paging import Listing, PageArguments
from backend.kernel.messages.refusals import StaleVersion

blueprint = Blueprint("products", __name__, description="Products and their stock")
listing = Listing[ProductView]("products")
ledger = Listing[MovementView]("movements")


def product_resource(product_id: UUID) -> Resource:
    """A product as the answer to an administrator's command."""
    return Resource(f"/products/{product_id}", GetProduct(product_id, hidden=True))


def find_product(product_id: UUID) -> None:
    """Raises ProductNotFound if there is none."""
    bus().ask(GetProduct(product_id, hidden=True))


def sees_hidden() -> bool:
    """Whether the caller sees products that are not active."""
    known = caller()
    return known is not None and known.is_admin


@blueprint.route("/products")
class ProductCollection(MethodView):
    """All products."""

    @admin_only
    @blueprint.arguments(schemas.NewProduct)
    @accepts_command
    @refuses(SkuTaken)
    @blueprint.response(201, schemas.ProductSchema)
    def post(self, new_product: dict[str, Any]) -> Response:
        """Create a product"""
        return dispatched(CreateProduct(operation_id(), **new_product), creates=Collection("/products", GetProduct))

    @public
    @blueprint.arguments(schemas.ProductFilter, location="query")
    @blueprint.response(200, schemas.ProductPage)
    def get(self, wanted: dict[str, Any]) -> Response:
        """List products"""
        after = listing.after(wanted.pop("cursor", None), wanted["sort"])
        page = bus().ask(ListProducts(after=after, hidden=sees_hidden(), **wanted))
        return listing.answer(page, wanted["sort"])


@blueprint.route("/products/import")
class ProductImport(MethodView):
    """Import of many products."""

    @admin_only
    @accepts_command
    @refuses(SkuTaken)
    @blueprint.doc(**transfer.IMPORT_DOCUMENT)
    def post(self) -> Response:
        """Import many products

        A CSV file with a header, or one JSON object per line, with the fields of a new product. At most 10,000 rows
        and 5 MiB. The operation reports its progress under `progress`, and each refused row with its line.
        """
        upload = transfer.upload()
        bus().execute(StageImport(operation_id(), upload.media_type, upload.content, upload.rows))
        return dispatched(ImportProducts(operation_id()), as_operation=lambda: True)


@blueprint.route("/products/export")
class ProductExport(MethodView):
    """Export of all products."""

    @admin_only
    @blueprint.doc(**transfer.EXPORT_DOCUMENT)
    def get(self) -> Response:
        """Export all products as CSV

        An apostrophe precedes a cell that a spreadsheet would take for a formula.
        """
        return transfer.csv_of(bus())


@blueprint.route("/products/<uuid:product_id>")
class ProductItem(MethodView):
    """One product."""

    @public
    @refuses(ProductNotFound)
    @blueprint.response(200, schemas.ProductSchema)
    def get(self, product_id: UUID) -> Response:
        """Show a product"""
        return resource_response(bus().ask(GetProduct(product_id, hidden=sees_hidden())))

    @admin_only
    @blueprint.arguments(schemas.ProductFields(partial=True))
    @accepts_command
    @refuses(ProductNotFound, SkuTaken, StaleVersion)
    @blueprint.response(200, schemas.ProductSchema)
    def put(self, changes: ProductChanges, product_id: UUID) -> Response:
        """Change the given fields of a product"""
        command = UpdateProduct(product_id, expected_version(product_id), changes)
        return dispatched(command, updates=product_resource(product_id))

    patch = put


@blueprint.route("/products/<uuid:product_id>/stock/add")
class StockAddition(MethodView):
    """Addition to the stock."""

    @admin_only
    @blueprint.arguments(schemas.NewMovement)
    @accepts_command
    @refuses(ProductNotFound, StockTooLarge, StaleVersion)
    @blueprint.response(200, schemas.ProductSchema)
    def post(self, movement: dict[str, Any], product_id: UUID) -> Response:
        """Add stock"""
        command = AddStock(product_id, expected_version(product_id), operation_id(), **movement)
        return dispatched(command, updates=product_resource(product_id))


@blueprint.route("/products/<uuid:product_id>/stock/remove")
class StockRemoval(MethodView):
    """Removal from the stock."""

    @admin_only
    @blueprint.arguments(schemas.NewMovement)
    @accepts_command
    @refuses(ProductNotFound, InsufficientStock, StaleVersion)
    @blueprint.response(200, schemas.ProductSchema)
    def post(self, movement: dict[str, Any], product_id: UUID) -> Response:
        """Remove stock: the whole quantity or nothing"""
        command = RemoveStock(product_id, expected_version(product_id), operation_id(), **movement)
        return dispatched(command, updates=product_resource(product_id))


@blueprint.route("/products/<uuid:product_id>/stock/movements")
class StockMovements(MethodView):
    """The ledger of a product's stock."""

    @admin_only
    @looks_for(find_product)
    @blueprint.arguments(PageArguments, location="query")
    @refuses(ProductNotFound)
    @blueprint.response(200, schemas.MovementPage)
    def get(self, wanted: dict[str, Any], product_id: UUID) -> Response:
        """List stock movements, newest first"""
        after = ledger.after(wanted.pop("cursor", None), str(product_id))
        return ledger.answer(bus().ask(ListMovements(product_id, after=after, **wanted)), str(product_id))


@blueprint.route("/products/<uuid:product_id>/activate")
class ProductActivation(MethodView):
    """Activation of a product."""

    @admin_only
    @accepts_command
    @refuses(ProductNotFound, StaleVersion)
    @blueprint.response(200, schemas.ProductSchema)
    def post(self, product_id: UUID) -> Response:
        """Activate a product: everybody can see it"""
        command = ActivateProduct(product_id, expected_version(product_id))
        return dispatched(command, updates=product_resource(product_id))


@blueprint.route("/products/<uuid:product_id>/deactivate")
class ProductDeactivation(MethodView):
    """Deactivation of a product."""

    @admin_only
    @accepts_command
    @refuses(ProductNotFound, StaleVersion)
    @blueprint.response(200, schemas.ProductSchema)
    def post(self, product_id: UUID) -> Response:
        """Deactivate a product: only administrators can see it"""
        command = DeactivateProduct(product_id, expected_version(product_id))
        return dispatched(command, updates=product_resource(product_id))
