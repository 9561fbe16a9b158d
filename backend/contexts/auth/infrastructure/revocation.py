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

from backend.contexts.auth.infrastructure.tables import sessions
from backend.contexts.auth.infrastructure.tokens import AccessTokens, Claims
from backend.kernel.http.caller import Caller, SessionEnded
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.listener import Listener
from backend.kernel.postgres.statements import Statement

log = structlog.get_logger(__name__)

CHANNEL = "sessions"
"""NOTIFY channel; the payload is `notice`."""
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
_REVOKED_LATELY = Statement(
    _COLUMNS.where(sessions.c.revoked_at > sa.func.now() - sa.bindparam("age", type_=sa.Interval)), _State
)


def notice(session_id: UUID, generation: int, *, ended: bool) -> str:
    """The notification of a session whose tokens are refused below a generation."""
    return f"refuse {session_id} {_NONE_IS_GOOD if ended else generation}"


class Revocations:
    """The revoked tokens that this process knows of.

    Args:
        lifetime: seconds until an access token expires.
    """

    def __init__(self, database: Database, lifetime: int) -> None:
        self._database = database
        self._keep = lifetime + _CLOCKS_DIFFER_BY
        self._lock = Lock()
        self._lowest_good: dict[UUID, tuple[int, float]] = {}

    def hear(self, payload: str) -> None:
        """Process a notification of the channel."""
        match payload.split():
            case ["refuse", session_id, lowest_good]:
                self._note(UUID(session_id), int(lowest_good))

    def catch_up(self) -> None:
        """Read everything revoked within a token's lifetime."""
        age = timedelta(seconds=self._keep)
        for state in self._database.read(lambda primary: _REVOKED_LATELY.all(primary, age=age), fresh=True):
            self._note(state.id, state.lowest_good)

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
    """

    def __init__(self, tokens: AccessTokens, revocations: Revocations, listener: Listener) -> None:
        self._tokens = tokens
        self._revocations = revocations
        self._listener = listener

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
        caller = _caller(claims)
        if claims.gen < lowest_good(claims.sid):
            raise SessionEnded(caller)
        return caller


def _caller(claims: Claims) -> Caller:
    return Caller(claims.sub, claims.sid, claims.roles, claims.exp)
