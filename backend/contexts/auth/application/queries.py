"""What may be asked of the auth context, and the views that answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from backend.kernel.messages.message import Query


@dataclass(frozen=True)
class SessionView:
    """One of somebody's sessions, as they see it.

    Attributes:
        current: whether it is the one that asks.
    """

    id: UUID
    created_at: datetime
    last_used_at: datetime
    ip: str
    user_agent: str
    current: bool


@dataclass(frozen=True)
class ListSessions(Query[list[SessionView]]):
    """The live sessions of a user, the latest used first, at most 100.

    Attributes:
        session_id: the one that asks.
    """

    user_id: UUID
    session_id: UUID
