"""Which access tokens are refused before they expire, without a query per request.

Guarantee: whatever revokes tokens notifies every API process in the transaction of the change, and
each process keeps in memory, for as long as tokens last, the lowest valid generation of the
session. While a process is not connected it asks the database at each request. When it connects, it
first reads everything revoked within a token's lifetime. So its memory is complete or not used.

A process that ends a session itself answers only after every process has confirmed that it knows,
or after half a second: a client may send its next request to any of them. The outcome of a
command that ended sessions in a worker is returned in the same way: the first to ask waits for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from threading import Lock
from time import monotonic
from uuid import UUID

import sqlalchemy as sa
import structlog

from backend.contexts.auth.domain.session import Method
from backend.contexts.auth.infrastructure.tables import sessions
from backend.contexts.auth.infrastructure.tokens import AccessTokens
from backend.kernel.http.caller import Caller, SessionEnded
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.listener import Listener
from backend.kernel.postgres.statements import Statement

log = structlog.get_logger(__name__)

CHANNEL = "sessions"
"""NOTIFY channel; the payload is the id of a user whose access tokens are refused, all or some."""
_NONE_IS_GOOD = 2**31 - 1
_CLOCKS_DIFFER_BY = 60
"""Seconds by which the clocks of this machine and of the database may differ."""


@dataclass(frozen=True)
class _State:
    id: UUID
    generation: int
    ended_at: datetime | None

    @property
    def lowest_good(self) -> int:
        return _NONE_IS_GOOD if self.ended_at else self.generation


_COLUMNS = sa.select(*(sessions.c[name] for name in _State.__dataclass_fields__))
_ONE = Statement(_COLUMNS.where(sessions.c.id == sa.bindparam("id", type_=sa.Uuid)), _State)
_AGE = sa.func.now() - sa.bindparam("age", type_=sa.Interval)
# A session that was not used within a token's lifetime has no token left to refuse.
_LATELY = _COLUMNS.where(sessions.c.revoked_at > _AGE, sessions.c.last_used_at > _AGE)
_REVOKED_LATELY = Statement(_LATELY, _State)
_OF_USER_LATELY = Statement(_LATELY.where(sessions.c.user_id == sa.bindparam("user_id", type_=sa.Uuid)), _State)


class Revocations:
    """The revoked tokens that this process knows of.

    Args:
        lifetime: seconds until an access token expires.
    """

    def __init__(self, database: Database, lifetime: int) -> None:
        self._database = database
        self._keep = lifetime + _CLOCKS_DIFFER_BY
        self._age = timedelta(seconds=self._keep)
        self._lock = Lock()
        self._lowest_good: dict[UUID, tuple[int, float]] = {}

    def hear(self, payload: str) -> None:
        """Note what was revoked of the user. A listener that fails here connects again, and catches up.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached.
        """
        user_id = UUID(payload)
        self._note_all(lambda primary: _OF_USER_LATELY.all(primary, age=self._age, user_id=user_id))

    def catch_up(self) -> None:
        """Note everything revoked within a token's lifetime."""
        self._note_all(lambda primary: _REVOKED_LATELY.all(primary, age=self._age))

    def lowest_good(self, session_id: UUID) -> int:
        """The lowest valid generation of the session, from memory."""
        return self._lowest_good.get(session_id, (0, 0))[0]

    def ask(self, session_id: UUID) -> int:
        """The lowest valid generation of the session, from the database.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached.
        """

        def state(primary: ReadConnection) -> _State | None:
            return _ONE.one(primary, id=session_id)

        found = self._database.read(state, fresh=True)
        return found.lowest_good if found else _NONE_IS_GOOD

    def _note_all(self, revoked: Callable[[ReadConnection], list[_State]]) -> None:
        for state in self._database.read(revoked, fresh=True):
            self._note(state.id, state.lowest_good)

    def _note(self, session_id: UUID, lowest_good: int) -> None:
        now = monotonic()
        with self._lock:
            known, _ = self._lowest_good.pop(session_id, (0, 0.0))
            self._lowest_good[session_id] = max(known, lowest_good), now + self._keep
            expired = takewhile(lambda one: self._lowest_good[one][1] < now, self._lowest_good)
            for gone in list(islice(expired, 2)):  # the oldest come first; two per new one is enough
                del self._lowest_good[gone]


class Gate:
    """Authenticates access tokens.

    `authenticate` asks the database only while `listener` is not connected.

    Args:
        admins_need_two_step: whether a session without two-step sign-in may not administer.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        revocations: Revocations,
        listener: Listener,
        *,
        admins_need_two_step: bool = False,
    ) -> None:
        self._tokens = tokens
        self._revocations = revocations
        self._listener = listener
        self._admins_need_two_step = admins_need_two_step

    def authenticate(self, access_token: str) -> Caller:
        """The caller who presents the token.

        Raises:
            SessionEnded: the token is ours and has not expired, but was revoked.
            InvalidToken: it is anything else.
            DatabaseAway: PostgreSQL cannot be asked whether it was revoked.
        """
        lowest_good = self._revocations.lowest_good if self._listener.connected else self._revocations.ask
        return self._authenticated(access_token, lowest_good)

    def authenticate_now(self, access_token: str) -> Caller:
        """The same, from the database each time."""
        return self._authenticated(access_token, self._revocations.ask)

    def _authenticated(self, access_token: str, lowest_good: Callable[[UUID], int]) -> Caller:
        claims = self._tokens.read(access_token)
        strong = not self._admins_need_two_step or Method.MULTIPLE in claims.amr
        caller = Caller(claims.sub, claims.sid, claims.roles, claims.exp, claims.auth_time, strong)
        if claims.gen < lowest_good(claims.sid):
            raise SessionEnded(caller)
        return caller
