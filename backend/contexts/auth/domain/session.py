"""Sessions, which refresh tokens keep alive."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

IDLE_LIFETIME = timedelta(days=30)
"""How long a session lasts without use."""
LIFETIME = timedelta(days=90)
"""How long a session lasts at most."""
PER_ACCOUNT = 50
"""Active sessions per account; one more ends the oldest."""
GRACE = timedelta(seconds=30)
"""How long an exchanged refresh token still returns its successor: the answer may have been lost."""


class Method(StrEnum):
    """An authentication method (RFC 8176)."""

    PASSWORD = "pwd"  # noqa: S105 - the name of the method
    CODE = "otp"  # the mailed code
    MULTIPLE = "mfa"  # more than one


BY_PASSWORD = (Method.PASSWORD,)
BY_PASSWORD_AND_CODE = (Method.PASSWORD, Method.CODE, Method.MULTIPLE)


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


@dataclass(eq=False)
class Session:
    """A session: a user signed in on one device.

    Attributes:
        methods: those of the last authentication, at `authenticated_at`.
        generation: access tokens of an earlier generation are refused.
        refresh_fingerprint: of the refresh token that may be exchanged.
        spent: the recently exchanged refresh tokens, by fingerprint, with the time in seconds since 1970.
    """

    id: UUID
    user_id: UUID
    refresh_fingerprint: str
    methods: list[str]
    ip: str
    user_agent: str
    created_at: datetime
    last_used_at: datetime
    authenticated_at: datetime
    generation: int = 1
    spent: dict[str, float] = field(default_factory=dict)
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.methods or not set(self.methods) <= set(Method):
            raise ValueError(f"{self.methods} are no authentication methods")

    @classmethod
    def start(  # noqa: PLR0913, PLR0917 - what a session begins with
        cls, user_id: UUID, token: RefreshToken, methods: tuple[Method, ...], now: datetime, ip: str, user_agent: str
    ) -> Session:
        """A new session with this refresh token."""
        return cls(token.session_id, user_id, token.fingerprint, [*methods], ip, user_agent, now, now, now)

    @property
    def ends_at(self) -> datetime:
        """When the session ends at the latest."""
        return self.created_at + LIFETIME

    def is_live(self, now: datetime) -> bool:
        """Whether the session is active."""
        return self.ended_at is None and now < min(self.last_used_at + IDLE_LIFETIME, self.ends_at)

    def exchange(self, token: RefreshToken, successor: RefreshToken, now: datetime) -> bool:
        """Replace the token with its successor, unless that was done already.

        Returns:
            False if the token was exchanged longer ago than the grace period: somebody has a copy.
        """
        if token.fingerprint == self.refresh_fingerprint:
            self._rotate(successor, now)
            return True
        self.last_used_at = now
        return _lately(self.spent.get(token.fingerprint, 0), now)

    def reauthenticate(self, successor: RefreshToken, methods: tuple[Method, ...], now: datetime) -> None:
        """Note a new authentication, and replace the refresh token with its successor."""
        self.methods, self.authenticated_at = [*methods], now
        self._rotate(successor, now)

    def _rotate(self, successor: RefreshToken, now: datetime) -> None:
        recent = {fingerprint: at for fingerprint, at in self.spent.items() if _lately(at, now)}
        self.spent = {**recent, self.refresh_fingerprint: now.timestamp()}
        self.refresh_fingerprint = successor.fingerprint
        self.last_used_at = now


def _lately(at: float, now: datetime) -> bool:
    return now.timestamp() - at <= GRACE.total_seconds()
