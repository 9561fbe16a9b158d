"""The origin of the current work: the request and the user that caused it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple
from uuid import UUID


class Origin(NamedTuple):
    """The origin of the current work. Commands and events contain it.

    Attributes:
        request_id: of the request that caused the work.
        actor: the signed-in user who asked, if any.
        ip, user_agent: of the request, as far as proxies are trusted.
        traceparent: the W3C trace context to continue.
        replayed_by: the administrator who replayed the dead letter; None without a replay, or by an operator's shell.
    """

    request_id: str = ""
    actor: UUID | None = None
    ip: str = ""
    user_agent: str = ""
    traceparent: str = ""
    replayed_by: UUID | None = None


_NOTHING_KNOWN = Origin()
current_origin: ContextVar[Origin] = ContextVar("current_origin", default=_NOTHING_KNOWN)
