"""Who asked for what is being done, and on which request."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple
from uuid import UUID


class Context(NamedTuple):
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


_NOTHING_KNOWN = Context()
current_context: ContextVar[Context] = ContextVar("current_context", default=_NOTHING_KNOWN)
