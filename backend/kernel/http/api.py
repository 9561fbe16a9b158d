"""What a view function may reach: the application's parts, and what is known of the request at hand."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import UUID

from flask import current_app

from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.waiters import Waiters
from backend.kernel.http.caller import Authenticate, Caller
from backend.kernel.keys import Keyring
from backend.kernel.observe.timeline import StepsOf
from backend.kernel.postgres.listener import Listener
from backend.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PREFIX = "/api/v1"


@dataclass(frozen=True)
class Api:
    """The application's parts.

    Attributes:
        timeline: what the contexts add to the timeline of a request.
    """

    settings: Settings
    bus: Bus
    keyring: Keyring
    listener: Listener
    waiters: Waiters
    authenticate: Authenticate
    timeline: tuple[StepsOf, ...] = ()


@dataclass
class CurrentRequest:
    """What is known of the request at hand. It is gathered once, when the request begins.

    Attributes:
        environ: the request as WSGI has it (PEP 3333): a header is `HTTP_…`.
        caller: who calls, None for somebody anonymous.
        operation_id: of the operation that it asks for, once a view has asked.
        fingerprint: of its body, "" without an Idempotency-Key.
        before: what restores `current` when the request has ended.
    """

    api: Api
    environ: WSGIEnvironment
    request_id: str
    started: float
    trace: AbstractContextManager[None]
    caller: Caller | None = None
    operation_id: UUID | None = None
    fingerprint: str = ""
    before: Token[CurrentRequest] | None = None


current: ContextVar[CurrentRequest] = ContextVar("current")
"""Plain Flask keeps such things on `g`; each look through its proxies costs more than all of a context variable."""


def api() -> Api:
    """The running application's parts; in a command of `flask` as well."""
    request = current.get(None)
    return request.api if request else cast("Api", current_app.extensions["api"])


def bus() -> Bus:
    """The running application's bus."""
    return api().bus


def caller() -> Caller | None:
    """Who calls, None for somebody anonymous."""
    return current.get().caller
