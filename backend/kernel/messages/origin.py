"""Who asked for the work at hand, and on which request."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple
from uuid import UUID


class Origin(NamedTuple):
    """What the outside world says about the work at hand; it travels with commands and events.

    Attributes:
        request_id: of the request that caused it.
        actor: the signed-in user who asked, if any.
        ip, user_agent: of the request, as far as proxies are trusted.
        traceparent: W3C trace context to continue.
    """

    request_id: str = ""
    actor: UUID | None = None
    ip: str = ""
    user_agent: str = ""
    traceparent: str = ""


_NOTHING_KNOWN = Origin()
current_origin: ContextVar[Origin] = ContextVar("current_origin", default=_NOTHING_KNOWN)
