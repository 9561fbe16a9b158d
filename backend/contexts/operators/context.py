"""The operators context."""

from __future__ import annotations

from backend.contexts.operators.application.handlers import handlers
from backend.contexts.operators.application.ports import OperatorsPorts
from backend.contexts.operators.infrastructure.audit_routes import blueprint as audit_routes
from backend.contexts.operators.infrastructure.cli import letters, trace
from backend.contexts.operators.infrastructure.cli_audit import audit
from backend.contexts.operators.infrastructure.cli_operations import operations
from backend.contexts.operators.infrastructure.cli_restore import after_restore
from backend.contexts.operators.infrastructure.cli_status import about, status
from backend.contexts.operators.infrastructure.cli_workers import lanes, schedule, workers
from backend.contexts.operators.infrastructure.console import console_pages
from backend.contexts.operators.infrastructure.dead_letter_routes import blueprint as dead_letter_routes
from backend.contexts.operators.infrastructure.dead_letters import SqlDeadLetters
from backend.contexts.operators.infrastructure.lane_routes import blueprint as lane_routes
from backend.contexts.operators.infrastructure.lanes import SqlLanes
from backend.contexts.operators.infrastructure.operation_routes import blueprint as operation_routes
from backend.contexts.operators.infrastructure.status_routes import blueprint as status_routes
from backend.contexts.operators.infrastructure.worker_routes import blueprint as worker_routes
from backend.kernel.context import Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.resources import Resources


def open_ports(resources: Resources, unit: UnitOfWork) -> OperatorsPorts:
    """Open the handlers' ports for one transaction."""
    registry = resources.registry
    lane_of = {name: handler.lane for name, handler in registry.queued().items()}
    known = SqlLanes(unit, registry.every_lane(), lane_of)
    return OperatorsPorts(SqlDeadLetters(unit, lane_of, resources.sealer), known)


context = Context(
    "operators",
    handlers,
    open_ports,
    routes=(audit_routes, dead_letter_routes, lane_routes, operation_routes, status_routes, worker_routes),
    root_routes=console_pages,
    cli=(about, after_restore, audit, lanes, letters, operations, schedule, status, trace, workers),
)
