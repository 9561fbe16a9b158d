"""What other contexts may know of signing in: the published language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from backend.kernel.messages.event import Event
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class SignInEvent(Event):
    """Something happened while a user signed in or stayed so. It may carry an address, so it stays inside."""

    public: ClassVar[bool] = False

    user_id: UUID

    @property
    def subject(self) -> str:
        """The user's id."""
        return str(self.user_id)


@dataclass(frozen=True)
class SignInCodeRequested(SignInEvent):
    """The password was right; the code proves the mailbox as well.

    Attributes:
        code: six digits.
        language: of the mail, such as `en` or `es`.
    """

    email: str
    name: str
    language: str
    code: Secret
    challenge_id: UUID
    expires_at: datetime


@dataclass(frozen=True)
class RefreshTokenReused(SignInEvent):
    """A refresh token that had been exchanged came again: somebody has a copy, so the session was ended."""

    email: str
    name: str
    language: str
    session_id: UUID
    ip: str


@dataclass(frozen=True)
class UnverifiedSignIn(SignInEvent):
    """Somebody gave the right password of an account whose address is not verified yet."""
