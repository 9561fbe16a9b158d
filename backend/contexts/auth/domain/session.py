"""Sessions, which refresh tokens keep alive."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

LIFETIME = timedelta(days=30)
"""How long a session lasts without use."""
GRACE = timedelta(seconds=30)
"""How long an exchanged refresh token still returns its successor: the answer may have been lost."""


@dataclass(frozen=True)
class RefreshToken:
    """A client exchanges it for a new access token, once.

    Attributes:
        secret: 32 bytes; the database stores their hash.
    """

    session_id: UUID
    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """What the database stores. It needs no key and no salt: there are 2^256 secrets to try."""
        return hashlib.sha256(self.secret).hexdigest()


class Session:
    """A session: a user signed in on one device.

    Attributes:
        generation: access tokens of an earlier generation are refused.
        refresh_fingerprint: of the refresh token that may be exchanged.
        spent: the recently exchanged refresh tokens, by fingerprint, with the time in seconds since 1970.
    """

    id: UUID
    user_id: UUID
    generation: int
    refresh_fingerprint: str
    spent: dict[str, float]
    ip: str
    user_agent: str
    created_at: datetime
    last_used_at: datetime
    ended_at: datetime | None

    @classmethod
    def start(cls, user_id: UUID, token: RefreshToken, now: datetime, ip: str, user_agent: str) -> Session:
        """A new session with this refresh token."""
        session = cls()
        session.id, session.user_id, session.generation = token.session_id, user_id, 1
        session.refresh_fingerprint, session.spent = token.fingerprint, {}
        session.ip, session.user_agent = ip, user_agent
        session.created_at = session.last_used_at = now
        session.ended_at = None
        return session

    def is_live(self, now: datetime) -> bool:
        """Whether the session is active."""
        return self.ended_at is None and now < self.last_used_at + LIFETIME

    def exchange(self, token: RefreshToken, successor: RefreshToken, now: datetime) -> bool:
        """Replace the token with its successor, unless that was done already.

        Returns:
            False if the token was exchanged longer ago than the grace period: somebody has a copy.
        """
        self.last_used_at = now
        if token.fingerprint == self.refresh_fingerprint:
            recent = {fingerprint: at for fingerprint, at in self.spent.items() if _lately(at, now)}
            self.spent = {**recent, token.fingerprint: now.timestamp()}
            self.refresh_fingerprint = successor.fingerprint
            return True
        return _lately(self.spent.get(token.fingerprint, 0), now)


def _lately(at: float, now: datetime) -> bool:
    return now.timestamp() - at <= GRACE.total_seconds()
