"""The composition root: the one place that knows which adapter stands behind a port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

from backend.contexts.auth.application.handlers import handlers as auth
from backend.contexts.auth.application.ports import AuthPorts
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.contexts.auth.infrastructure.queries import queries as auth_queries
from backend.contexts.auth.infrastructure.repository import (
    SqlAccounts,
    SqlChallenges,
    SqlSessions,
    purge_challenges,
    purge_sessions,
)
from backend.contexts.auth.infrastructure.throttle import SqlAttempts, SqlGuesses, Throttle, Turns, purge_failures
from backend.contexts.auth.infrastructure.tokens import AccessTokens, SignedTokens
from backend.contexts.notifications.application.handlers import handlers as notifications
from backend.contexts.notifications.application.ports import NotificationsPorts
from backend.contexts.notifications.infrastructure import ledger as mail_ledger
from backend.contexts.notifications.infrastructure.composing import Composer
from backend.contexts.notifications.infrastructure.mailers import mailer_of
from backend.contexts.operators.application.handlers import handlers as dead_letters
from backend.contexts.operators.application.ports import DeadLettersPorts
from backend.contexts.operators.infrastructure.dead_letters import SqlDeadLetters
from backend.contexts.products.application.handlers import handlers as products
from backend.contexts.products.application.ports import ProductsPorts
from backend.contexts.products.infrastructure import imports as product_imports
from backend.contexts.products.infrastructure.imports import SqlImports
from backend.contexts.products.infrastructure.queries import queries as products_queries
from backend.contexts.products.infrastructure.repository import SqlLedger, SqlProducts
from backend.contexts.users.application.handlers import handlers as users
from backend.contexts.users.application.ports import UsersPorts
from backend.contexts.users.application.queries import ListAdmins
from backend.contexts.users.infrastructure.links import SqlLinks, purge_links
from backend.contexts.users.infrastructure.passwords import BcryptHasher
from backend.contexts.users.infrastructure.queries import queries as users_queries
from backend.contexts.users.infrastructure.repository import SqlUsers, purge_registrations
from backend.kernel.delivery.bus import Bus, Purge
from backend.kernel.delivery.envelope import Queue
from backend.kernel.delivery.sealing import Keyring
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.origin import current_context
from backend.kernel.messages.registry import Handler, Handlers
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.queries import Queries
from backend.settings import Settings

P = TypeVar("P")


class _Process:
    """What lives as long as the process. It connects to nothing before its first use."""

    def __init__(self, settings: Settings, queue: Queue) -> None:
        self.settings = settings
        self.keyring = Keyring(settings.secret_keys)
        self.database = Database(settings.database_url, settings.database_read_url)
        self.bus = Bus(self.database, queue, self.keyring, settings.publish_deadline, settings.spool_limit)
        self.hasher = BcryptHasher(self.keyring, settings.bcrypt_rounds)
        self.throttle = Throttle(self.database, self.keyring)
        self.turns = Turns()
        self.tokens = SignedTokens(AccessTokens(settings, SigningKeys(settings)), self.keyring)
        self.mailer = mailer_of(settings.mail_url, Composer(settings.mail_from, settings.public_url).compose)


def _auth(process: _Process, unit: UnitOfWork) -> AuthPorts:
    return AuthPorts(
        accounts=SqlAccounts(process.bus, unit),
        guesses=SqlGuesses(unit, process.throttle, process.turns, process.hasher),
        sessions=SqlSessions(unit),
        challenges=SqlChallenges(unit),
        tokens=process.tokens,
        now=_now,
        verification_required=process.settings.require_email_verification,
    )


def _notifications(process: _Process, unit: UnitOfWork) -> NotificationsPorts:
    return NotificationsPorts(
        message_id=unit.message_id,
        ledger=mail_ledger.SqlLedger(process.database),
        mailer=process.mailer,
        now=_now,
        admins=lambda: process.bus.ask(ListAdmins()),
    )


def _products(_: _Process, unit: UnitOfWork) -> ProductsPorts:
    return ProductsPorts(SqlProducts(unit), SqlLedger(unit), SqlImports(unit), current_context.get().actor)


def _users(process: _Process, unit: UnitOfWork) -> UsersPorts:
    return UsersPorts(
        users=SqlUsers(unit, process.database),
        links=SqlLinks(unit, process.database, process.keyring),
        passwords=process.hasher,
        access=SqlSessions(unit),
        attempts=SqlAttempts(process.throttle, process.turns),
        verification_required=process.settings.require_email_verification,
    )


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Context(Generic[P]):
    """A context's handlers, what opens their ports for one transaction, its questions, and what it purges."""

    handlers: Handlers[P]
    open_ports: Callable[[_Process, UnitOfWork], P]
    queries: Queries | None = None
    purges: tuple[Purge, ...] = ()


_CONTEXTS: tuple[_Context[Any], ...] = (
    _Context(auth, _auth, auth_queries, (purge_sessions, purge_challenges, purge_failures)),
    _Context(notifications, _notifications, purges=(mail_ledger.purge,)),
    _Context(products, _products, products_queries, (product_imports.purge,)),
    _Context(users, _users, users_queries, (purge_links, purge_registrations)),
)

HANDLERS: dict[str, Handler] = {handler.name: handler for context in _CONTEXTS for handler in context.handlers.queued()}
"""What workers carry out, by wire name: tasks, queues and routes are derived from it."""
_LANES = {name: handler.queue for name, handler in HANDLERS.items()}


def build_bus(settings: Settings, queue: Queue) -> Bus:
    """A bus with every context's handlers on the real adapters, whichever contexts this process serves:
    an event is published to the queues of all its subscribers. It connects to nothing yet.
    """
    process = _Process(settings, queue)
    bus = process.bus
    for context in _CONTEXTS:
        bus.include(context.handlers, partial(context.open_ports, process))
        if context.queries is not None:
            bus.include_queries(context.queries)
        for purge in context.purges:
            bus.include_purge(purge)
    bus.include(dead_letters, lambda unit: DeadLettersPorts(SqlDeadLetters(unit, _LANES)))
    return bus
