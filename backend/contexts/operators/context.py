"""The operators context."""

from __future__ import annotations

from backend.contexts.operators.application.handlers import handlers
from backend.contexts.operators.application.ports import DeadLettersPorts
from backend.contexts.operators.infrastructure.audit_routes import blueprint as audit_routes
from backend.contexts.operators.infrastructure.cli import letters, trace
from backend.contexts.operators.infrastructure.dead_letter_routes import blueprint as dead_letter_routes
from backend.contexts.operators.infrastructure.dead_letters import SqlDeadLetters
from backend.kernel.context import Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.resources import Resources


def open_ports(resources: Resources, unit: UnitOfWork) -> DeadLettersPorts:
    """Open the handlers' ports for one transaction."""
    return DeadLettersPorts(
        SqlDeadLetters(
            unit, {name: handler.lane for name, handler in resources.registry.queued().items()}, resources.sealer
        )
    )


context = Context(
    "operators",
    handlers,
    open_ports,
    routes=(audit_routes, dead_letter_routes),
    cli=(letters, trace),
)
