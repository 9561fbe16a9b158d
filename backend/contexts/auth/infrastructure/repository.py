"""Sessions and challenges in PostgreSQL.

Whatever revokes access tokens notifies every API process in the transaction of the change (`revocation.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from backend.contexts.auth.domain.account import Account
from backend.contexts.auth.domain.challenge import Challenge
from backend.contexts.auth.domain.errors import InvalidCode, InvalidRefreshToken
from backend.contexts.auth.domain.session import IDLE_LIFETIME, LIFETIME, PER_ACCOUNT, Session
from backend.contexts.auth.infrastructure.revocation import CHANNEL
from backend.contexts.auth.infrastructure.tables import challenges, sessions
from backend.contexts.users.application.queries import AccountView, FindAccount, GetAccount
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Query
from backend.kernel.postgres.queries import Reader
from backend.kernel.postgres.retention import Retention

_HOUR = timedelta(hours=1)


ACTIVE = sa.and_(
    sessions.c.ended_at.is_(None),
    sessions.c.last_used_at > sa.func.now() - IDLE_LIFETIME,
    sessions.c.created_at > sa.func.now() - LIFETIME,
)


class SqlSessions:
    """`Sessions` within one unit of work."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def add(self, session: Session) -> None:
        """Insert a new session. Its user is locked, so nobody else adds one meanwhile."""
        self._unit.session.add(session)
        self._unit.session.flush()
        theirs = sa.select(sessions.c.id).where(sessions.c.user_id == session.user_id, ACTIVE)
        surplus = theirs.order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).offset(PER_ACCOUNT)
        self._end(session.user_id, sessions.c.id.in_(surplus))

    def get(self, session_id: UUID) -> Session:
        """One session, locked until the transaction ends."""
        session = self._unit.session.get(Session, session_id, with_for_update=True)
        if session is None:
            raise InvalidRefreshToken
        return session

    def end(self, user_id: UUID, session_id: UUID) -> bool:
        """End one session of the user."""
        return self._end(user_id, sessions.c.id == session_id)

    def end_sessions(self, user_id: UUID, keep: UUID | None = None) -> None:
        """End the other sessions, and the sign-ins that wait for a code."""
        self._end(user_id, sessions.c.id != keep if keep else sa.true())
        waiting = challenges.update().where(challenges.c.user_id == user_id, challenges.c.ended_at.is_(None))
        self._unit.connection.execute(waiting.values(ended_at=sa.func.now()))

    def refuse_tokens(self, user_id: UUID) -> None:
        """Raise the generation of each active session."""
        self._revoke(user_id, sa.true(), generation=sessions.c.generation + 1)

    def _end(self, user_id: UUID, which: sa.ColumnElement[bool]) -> bool:
        return self._revoke(user_id, which, ended_at=sa.func.now())

    def _revoke(self, user_id: UUID, which: sa.ColumnElement[bool], **change: Any) -> bool:
        """One statement and one notification, however many sessions there are."""
        theirs = sessions.update().where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None), which)
        revoked = self._unit.connection.execute(theirs.values(revoked_at=sa.func.now(), **change)).rowcount
        if revoked:
            self._unit.notify(CHANNEL, str(user_id))
        return bool(revoked)


class SqlChallenges:
    """`Challenges` within one unit of work."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def count_lately(self, user_id: UUID) -> int:
        """Count what others committed before this transaction got hold of the user."""
        lately = sa.select(sa.func.count()).where(
            challenges.c.user_id == user_id, challenges.c.created_at > sa.func.now() - _HOUR
        )
        return self._unit.connection.scalar(lately) or 0

    def add(self, challenge: Challenge) -> None:
        """Insert a new challenge."""
        self._unit.session.add(challenge)

    def get(self, challenge_id: UUID) -> Challenge:
        """One challenge, locked until the transaction ends."""
        challenge = self._unit.session.get(Challenge, challenge_id, with_for_update=True)
        if challenge is None:
            raise InvalidCode
        return challenge


class SqlAccounts:
    """`Accounts`, with queries of the users context."""

    def __init__(self, reader: Reader, unit: UnitOfWork) -> None:
        self._reader = reader
        self._unit = unit

    def named(self, login: str) -> Account | None:
        """A username contains no `@`, an address always does."""
        query = FindAccount(email=login) if "@" in login else FindAccount(username=login)
        return self._known(self._reader.ask(query, fresh=True))

    def held(self, user_id: UUID) -> Account | None:
        """Locked against changes and against other sign-ins."""
        return self._within(GetAccount(user_id, hold=True))

    def of(self, session: Session) -> Account | None:
        """The user of a locked session."""
        return self._within(GetAccount(session.user_id))

    def _within(self, query: Query[AccountView | None]) -> Account | None:
        return self._known(self._reader.ask_within(self._unit.connection, query))

    def _known(self, found: AccountView | None) -> Account | None:
        if found is None:
            return None
        self._unit.about = found.id
        return self._unit.track(
            Account(
                found.id,
                found.email,
                found.name,
                found.language,
                tuple(found.roles),
                found.is_active,
                found.email_verified,
                found.pending,
                found.two_step,
                found.password_version,
            )
        )


SESSIONS = Retention(sessions.c.last_used_at, timedelta(days=60))
"""Not used for so long that all their tokens have expired."""
CHALLENGES = Retention(challenges.c.created_at, 2 * _HOUR)
"""They no longer count for the hourly limit."""


def end_every_session(connection: sa.Connection) -> str:
    """End every session and raise its generation: a restored database does not know who has signed out since.

    Processes that start read what was revoked within a token's lifetime; so it counts as used now.
    """
    now = sa.func.now()
    ended = sessions.update().where(sessions.c.ended_at.is_(None))
    rows = connection.execute(
        ended.values(ended_at=now, revoked_at=now, last_used_at=now, generation=sessions.c.generation + 1)
    )
    connection.execute(challenges.update().where(challenges.c.ended_at.is_(None)).values(ended_at=now))
    return f"{rows.rowcount} sessions ended: everybody has to sign in again"
