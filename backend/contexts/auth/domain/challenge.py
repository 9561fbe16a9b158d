"""Challenges: the second step of a sign-in."""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from uuid import UUID

LIFETIME = timedelta(minutes=5)
TRIES = 5
RESEND_AFTER = timedelta(minutes=1)
PER_HOUR = 5
"""Challenges per account and hour."""


class Challenge:
    """After a correct password, the mailed code is required.

    Attributes:
        code_digest: keyed, so that the table alone does not reveal the code.
        tries: attempts so far.
        sent_at: when the newest code was sent.
    """

    id: UUID
    user_id: UUID
    code_digest: bytes
    tries: int
    created_at: datetime
    sent_at: datetime
    expires_at: datetime
    ended_at: datetime | None

    @classmethod
    def open(cls, challenge_id: UUID, user_id: UUID, code_digest: bytes, now: datetime) -> Challenge:
        """A new challenge for this code."""
        challenge = cls()
        challenge.id, challenge.user_id, challenge.code_digest = challenge_id, user_id, code_digest
        challenge.tries, challenge.ended_at = 0, None
        challenge.created_at = challenge.sent_at = now
        challenge.expires_at = now + LIFETIME
        return challenge

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
