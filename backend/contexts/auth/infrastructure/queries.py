"""Queries of the auth context, in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from backend.contexts.auth.application.queries import ListSessions, SessionView
from backend.contexts.auth.domain.session import PER_ACCOUNT
from backend.contexts.auth.infrastructure.repository import ACTIVE
from backend.contexts.auth.infrastructure.tables import sessions
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.queries import Queries
from backend.kernel.postgres.statements import Statement

queries = Queries()

_OF_USER = Statement(
    sa.select(
        *(sessions.c[name] for name in ("id", "created_at", "last_used_at", "ip", "user_agent")),
        (sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid)).label("current"),
    )
    .where(sessions.c.user_id == sa.bindparam("user_id", type_=sa.Uuid), ACTIVE)
    .order_by(sessions.c.last_used_at.desc(), sessions.c.id.desc())
    .limit(PER_ACCOUNT),
    SessionView,
)


@queries.on(ListSessions)
def list_sessions(query: ListSessions, connection: ReadConnection) -> list[SessionView]:
    """The active sessions of a user."""
    return _OF_USER.all(connection, user_id=query.user_id, session_id=query.session_id)
