"""What view functions use: the parts of the application, and the current request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import UUID

import sqlalchemy as sa
from flask import current_app

from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.waiters import Waiters
from backend.kernel.http.caller import Authenticate, Caller
from backend.kernel.keys import Keyring
from backend.kernel.limits import Limits
from backend.kernel.observe.timeline import StepsOf
from backend.kernel.postgres.listener import Listener
from backend.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PREFIX = "/api/v1"


@dataclass(frozen=True)
class Api:
    """The parts of the application.

    Attributes:
        authenticate_now: as `authenticate`, with session and roles from the database.
        timeline: the contexts' parts of a timeline.
        contexts: the names of the program's contexts.
        after_restore: what the contexts do after PostgreSQL was restored.
    """

    settings: Settings
    bus: Bus
    keyring: Keyring
    listener: Listener
    waiters: Waiters
    limits: Limits
    authenticate: Authenticate
    authenticate_now: Authenticate
    timeline: tuple[StepsOf, ...] = ()
    contexts: tuple[str, ...] = ()
    after_restore: tuple[Callable[[sa.Connection], str], ...] = ()


@dataclass
class CurrentRequest:
    """The current request. Its attributes are set once, when the request begins.

    Attributes:
        environ: the WSGI environment (PEP 3333): a header is `HTTP_…`.
        rule: of its route, such as `/api/v1/users/<uuid:user_id>`; None if no route matched.
        ip: the address of the client, as far as proxies are trusted.
        caller: None for an anonymous caller.
        by_cookie: whether the caller was authenticated by a session cookie.
        operation_id: of its operation, once a view has asked for it.
        fingerprint: of its body, "" without an Idempotency-Key.
        problem: the code of the problem in its answer, "" for none.
        before: restores `current` when the request has ended.
    """

    api: Api
    environ: WSGIEnvironment
    rule: str | None
    request_id: str
    started: float
    ip: str
    trace: AbstractContextManager[None]
    caller: Caller | None = None
    by_cookie: bool = False
    operation_id: UUID | None = None
    fingerprint: str = ""
    problem: str = ""
    before: Token[CurrentRequest] | None = None


current: ContextVar[CurrentRequest] = ContextVar("current")
"""Plain Flask stores such things on `g`. Each access through its proxies costs more than a context variable."""


def root() -> str:
    """The prefix of the API behind proxies, such as `/backend`; usually "". Every address that we return has it."""
    return str(current.get().environ.get("SCRIPT_NAME", ""))


def api() -> Api:
    """The parts of the running application, also in a `flask` command."""
    request = current.get(None)
    return request.api if request else cast("Api", current_app.extensions["api"])


def bus() -> Bus:
    """The bus of the running application."""
    return api().bus


def caller() -> Caller | None:
    """The caller; None for an anonymous one."""
    return current.get().caller
