"""Events of the auth context: what other contexts may use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from backend.kernel.messages.event import Event
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class SignInEvent(Event):
    """Something happened at a sign-in. It may contain an address, so it is not published outside."""

    public: ClassVar[bool] = False

    user_id: UUID

    @property
    def subject(self) -> str:
        """The user's id."""
        return str(self.user_id)


@dataclass(frozen=True)
class SignInCodeRequested(SignInEvent):
    """The password was correct. The code proves access to the mailbox as well.

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
    """An exchanged refresh token was presented again: somebody has a copy, so the session ended."""

    email: str
    name: str
    language: str
    session_id: UUID
    ip: str


@dataclass(frozen=True)
class UnverifiedSignIn(SignInEvent):
    """Somebody gave the correct password of an account whose address is not verified yet."""


@dataclass(frozen=True)
class PendingAccountUsed(SignInEvent):
    """Somebody signed in, or stayed so, with an account that was registered while verification was required."""
