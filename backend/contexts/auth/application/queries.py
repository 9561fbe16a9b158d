"""Queries of the auth context, and their views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from backend.kernel.messages.message import Query


@dataclass(frozen=True)
class SessionView:
    """A session as its user sees it.

    Attributes:
        current: whether it is the caller's session.
    """

    id: UUID
    created_at: datetime
    last_used_at: datetime
    ip: str
    user_agent: str
    current: bool


@dataclass(frozen=True)
class ListSessions(Query[list[SessionView]]):
    """The active sessions of a user, the most recently used first.

    Attributes:
        session_id: the caller's session.
    """

    user_id: UUID
    session_id: UUID
