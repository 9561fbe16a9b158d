"""Handlers of the products context, one function per message."""

from __future__ import annotations

from backend.contexts.products.application.commands import (
    ActivateProduct,
    AddStock,
    CreateProduct,
    DeactivateProduct,
    ImportProducts,
    ProductCommand,
    RemoveStock,
    StageImport,
    UpdateProduct,
)
from backend.contexts.products.application.ports import ImportedRow, ProductsPorts
from backend.contexts.products.domain.product import Product
from backend.kernel.messages.authority import admin
from backend.kernel.messages.message import Progress
from backend.kernel.messages.refusals import Invalid, Refusal, require_version
from backend.kernel.messages.registry import Handlers

ROWS_PER_STEP = 50
"""Few enough to relay the events of a step in one batch and to release its locks soon."""

handlers = Handlers[ProductsPorts]("products", audited=True)


@handlers.on(CreateProduct, may=admin)
def create_product(command: CreateProduct, ports: ProductsPorts) -> None:
    """The first stock moves before the product is stored, so that the product starts at version 1."""
    product = Product.create(command.product_id, command)
    movements = product.first_stock(command.stock, ports.actor_id)
    ports.products.add(product)
    for movement in movements:
        ports.ledger.add(movement)


@handlers.on(StageImport)
def stage_import(command: StageImport, ports: ProductsPorts) -> None:
    """Store the upload."""
    ports.imports.stage(command.import_id, command.media_type, command.content, command.rows)


@handlers.on(ImportProducts, may=admin, alone=True)
def import_products(command: ImportProducts, ports: ProductsPorts) -> Progress:
    """Process one step: some rows, and in the same transaction the progress."""
    rows = ports.imports.next_rows(command.import_id, ROWS_PER_STEP)
    refused = [(row.line, refusal) for row in rows if (refusal := _refusal_of(row, ports))]
    return ports.imports.advance(command.import_id, len(rows), refused)


def _refusal_of(row: ImportedRow, ports: ProductsPorts) -> Refusal | None:
    """Create the row's product; returns the refusal, if any."""
    if isinstance(row.product, Invalid):
        return row.product
    try:
        create_product(row.product, ports)
    except Refusal as refusal:
        return refusal
    return None


@handlers.on(UpdateProduct, may=admin)
def update_product(command: UpdateProduct, ports: ProductsPorts) -> None:
    """Change the fields that were given."""
    product = _expected(command, ports)
    product.change(command.changes, ports.accepted_at)
    ports.products.save(product)


@handlers.on(AddStock, may=admin)
def add_stock(command: AddStock, ports: ProductsPorts) -> None:
    """Move the stock up."""
    product = _expected(command, ports)
    ports.ledger.add(product.move_stock(command.movement_id, command.quantity, command.reason, ports.actor_id))


@handlers.on(RemoveStock, may=admin)
def remove_stock(command: RemoveStock, ports: ProductsPorts) -> None:
    """Move the stock down."""
    product = _expected(command, ports)
    ports.ledger.add(product.move_stock(command.movement_id, -command.quantity, command.reason, ports.actor_id))


@handlers.on(ActivateProduct, may=admin)
def activate_product(command: ActivateProduct, ports: ProductsPorts) -> None:
    """Show the product to everybody."""
    _expected(command, ports).activate(ports.accepted_at)


@handlers.on(DeactivateProduct, may=admin)
def deactivate_product(command: DeactivateProduct, ports: ProductsPorts) -> None:
    """Show the product to administrators only."""
    _expected(command, ports).deactivate(ports.accepted_at)


def _expected(command: ProductCommand, ports: ProductsPorts) -> Product:
    """The product of the command, in the expected version."""
    product = ports.products.get(command.product_id)
    require_version(product.version, command.expected_version)
    return product
