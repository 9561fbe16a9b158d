"""Challenges: the second step of a sign-in."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

LIFETIME = timedelta(minutes=5)
TRIES = 5
RESEND_AFTER = timedelta(minutes=1)
PER_HOUR = 5
"""Challenges per account and hour."""


@dataclass(eq=False)
class Challenge:
    """After a correct password, the mailed code is required.

    Attributes:
        code_digest: keyed, so that the table alone does not reveal the code.
        session_id: the session to reauthenticate; None: the code starts a new one.
        tries: attempts so far.
        sent_at: when the newest code was sent.
    """

    id: UUID
    user_id: UUID
    code_digest: bytes
    created_at: datetime
    sent_at: datetime
    expires_at: datetime
    session_id: UUID | None = None
    tries: int = 0
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.created_at <= self.sent_at < self.expires_at:
            raise ValueError("a challenge outlives the sending of its code")

    @classmethod
    def open(
        cls, challenge_id: UUID, user_id: UUID, code_digest: bytes, now: datetime, session_id: UUID | None = None
    ) -> Challenge:
        """A new challenge for this code."""
        return cls(challenge_id, user_id, code_digest, now, now, now + LIFETIME, session_id)

    def is_live(self, now: datetime) -> bool:
        """Whether a code may still be tried."""
        return self.ended_at is None and now < self.expires_at and self.tries < TRIES

    def answer(self, code_digest: bytes, now: datetime) -> bool:
        """Count an attempt. The correct code ends the challenge."""
        if not self.is_live(now):
            return False
        self.tries += 1
        right = hmac.compare_digest(code_digest, self.code_digest)
        if right:
            self.ended_at = now
        return right

    def wait_before_resend(self, now: datetime) -> timedelta:
        """How long until another code may be sent; zero or less if it may be sent now."""
        return self.sent_at + RESEND_AFTER - now

    def resend(self, code_digest: bytes, now: datetime) -> None:
        """Replace the code. That adds neither attempts nor time."""
        self.code_digest, self.sent_at = code_digest, now
