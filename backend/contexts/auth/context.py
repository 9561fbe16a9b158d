"""The auth context."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import flask

from backend.contexts.auth.application.handlers import handlers
from backend.contexts.auth.application.ports import AuthPorts
from backend.contexts.auth.infrastructure import revocation
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.contexts.auth.infrastructure.keys_cli import keys as keys_cli
from backend.contexts.auth.infrastructure.queries import queries
from backend.contexts.auth.infrastructure.repository import (
    CHALLENGES,
    SESSIONS,
    SqlAccounts,
    SqlChallenges,
    SqlSessions,
    end_every_session,
)
from backend.contexts.auth.infrastructure.revocation import Gate, Revocations
from backend.contexts.auth.infrastructure.routes import blueprint as routes
from backend.contexts.auth.infrastructure.routes import jwks_blueprint
from backend.contexts.auth.infrastructure.sessions_cli import sessions
from backend.contexts.auth.infrastructure.settings import AuthSettings
from backend.contexts.auth.infrastructure.throttle import FAILURES, SqlGuesses, attempts_of, throttle_of
from backend.contexts.auth.infrastructure.tokens import AccessTokens, SignedTokens
from backend.kernel.context import Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.http.caller import Authenticate
from backend.kernel.postgres.listener import Channel
from backend.kernel.resources import Resources
from backend.kernel.turns import turns_of


def open_ports(resources: Resources, unit: UnitOfWork) -> AuthPorts:
    """Open the handlers' ports for one transaction."""
    settings = resources.settings.of(AuthSettings)
    return AuthPorts(
        accounts=SqlAccounts(resources.reader, unit),
        guesses=SqlGuesses(unit, resources.once(throttle_of), resources.once(turns_of), resources.reader),
        sessions=SqlSessions(unit),
        challenges=SqlChallenges(unit),
        tokens=resources.once(_signed_tokens),
        now=_now,
        verification_required=settings.require_email_verification,
        admins_need_two_step=settings.require_admin_two_step,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _keys(resources: Resources) -> SigningKeys:
    return SigningKeys(resources.settings.of(AuthSettings))


def _access_tokens(resources: Resources) -> AccessTokens:
    settings = resources.settings
    return AccessTokens(settings.public_url, settings.of(AuthSettings).jwt_expire_minutes, resources.once(_keys))


def _signed_tokens(resources: Resources) -> SignedTokens:
    return SignedTokens(resources.once(_access_tokens), resources.keyring)


def _revocations(resources: Resources) -> Revocations:
    return Revocations(resources.database, resources.once(_access_tokens).lifetime)


def _gate(resources: Resources) -> Gate:
    return Gate(
        resources.once(_access_tokens),
        resources.once(_revocations),
        resources.listener,
        admins_need_two_step=resources.settings.of(AuthSettings).require_admin_two_step,
    )


def _authenticate(resources: Resources) -> Authenticate:
    return resources.once(_gate).authenticate


def _authenticate_now(resources: Resources) -> Authenticate:
    return resources.once(_gate).authenticate_now


def _channels(resources: Resources) -> Mapping[str, Channel]:
    return {revocation.CHANNEL: resources.once(_revocations)}


def _root_routes(resources: Resources) -> tuple[flask.Blueprint, ...]:
    return (jwks_blueprint(resources.once(_keys)),)


context = Context(
    "auth",
    handlers,
    open_ports,
    queries=queries,
    routes=(routes,),
    root_routes=_root_routes,
    cli=(keys_cli, sessions),
    retention=(SESSIONS, CHALLENGES, FAILURES),
    settings=AuthSettings,
    after_restore=end_every_session,
    channels=_channels,
    authenticate=_authenticate,
    authenticate_now=_authenticate_now,
    attempts=attempts_of,
)
