"""The users context."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from uuid import UUID

from backend.contexts.users.application.handlers import handlers
from backend.contexts.users.application.ports import UsersPorts
from backend.contexts.users.application.queries import ProvePassword
from backend.contexts.users.infrastructure.account_routes import blueprint as account_routes
from backend.contexts.users.infrastructure.cli import users as users_cli
from backend.contexts.users.infrastructure.link_pages import link_pages
from backend.contexts.users.infrastructure.links import LINKS, SqlLinks
from backend.contexts.users.infrastructure.passwords import hasher_of
from backend.contexts.users.infrastructure.proofs import proofs_of
from backend.contexts.users.infrastructure.queries import queries
from backend.contexts.users.infrastructure.repository import REGISTRATIONS, SqlUsers, account_of
from backend.contexts.users.infrastructure.routes import blueprint as routes
from backend.contexts.users.infrastructure.settings import UsersSettings
from backend.contexts.users.infrastructure.tables import SEARCH_KEYS
from backend.kernel.context import Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.limits import network_of
from backend.kernel.messages.origin import current_origin
from backend.kernel.postgres.queries import Offered
from backend.kernel.resources import Resources
from backend.kernel.turns import Turns, turns_of


def open_ports(resources: Resources, unit: UnitOfWork) -> UsersPorts:
    """Open the handlers' ports for one transaction."""
    return UsersPorts(
        users=SqlUsers(unit, resources.database),
        links=SqlLinks(unit, resources.database, resources.keyring, resources.limits),
        passwords=resources.once(hasher_of),
        attempts=resources.attempts,
        turn=partial(_turn, resources.once(turns_of)),
        accepted_at=unit.accepted_at,
        verification_required=resources.once(_verification_required),
    )


def _turn(turns: Turns, user_id: UUID) -> AbstractContextManager[None]:
    return turns.one(str(user_id), network_of(current_origin.get().ip))


def _offered(resources: Resources) -> Offered:
    return {ProvePassword: proofs_of(resources).prove}


def _verification_required(resources: Resources) -> bool:
    return resources.settings.of(UsersSettings).require_email_verification


context = Context(
    "users",
    handlers,
    open_ports,
    queries=queries,
    offered=_offered,
    routes=(routes, account_routes),
    root_routes=link_pages,
    cli=(users_cli,),
    retention=(LINKS, REGISTRATIONS),
    search_keys=(SEARCH_KEYS,),
    settings=UsersSettings,
    account_of=account_of,
)
