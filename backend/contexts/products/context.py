"""The products context."""

from __future__ import annotations

from backend.contexts.products.application.handlers import handlers
from backend.contexts.products.application.ports import ProductsPorts
from backend.contexts.products.infrastructure.imports import RETENTION, SqlImports
from backend.contexts.products.infrastructure.queries import queries
from backend.contexts.products.infrastructure.repository import SqlProducts, SqlStockLedger
from backend.contexts.products.infrastructure.routes import blueprint as routes
from backend.contexts.products.infrastructure.tables import SEARCH_KEYS
from backend.kernel.context import Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.origin import current_origin
from backend.kernel.resources import Resources


def open_ports(resources: Resources, unit: UnitOfWork) -> ProductsPorts:
    """Open the handlers' ports for one transaction."""
    actor = current_origin.get().actor
    return ProductsPorts(SqlProducts(unit), SqlStockLedger(unit), SqlImports(unit), actor, unit.accepted_at)


context = Context(
    "products",
    handlers,
    open_ports,
    queries=queries,
    routes=(routes,),
    retention=(RETENTION,),
    search_keys=(SEARCH_KEYS,),
)
