"""What may be ordered of the auth context. All of it is answered at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from backend.kernel.messages.message import SyncCommand
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class TokenPair:
    """What a signed-in client holds.

    Attributes:
        expires_in: seconds the access token lasts.
    """

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class CodeSent:
    """The password was right; the code that was mailed is asked for as well.

    Attributes:
        expires_in: seconds the challenge lasts.
    """

    two_step: bool
    challenge: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True)
class SignIn(SyncCommand[TokenPair | CodeSent]):
    """Sign in with a password.

    Attributes:
        login: e-mail address or username, in any case.
    """

    login: str
    password: Secret


@dataclass(frozen=True)
class SignInWithCode(SyncCommand[TokenPair]):
    """Finish a sign-in with the code that was mailed."""

    challenge: Secret
    code: Secret


@dataclass(frozen=True)
class ResendCode(SyncCommand[None]):
    """Mail another code for the same sign-in."""

    challenge: Secret


@dataclass(frozen=True)
class Refresh(SyncCommand[TokenPair]):
    """Exchange a refresh token for a new pair."""

    refresh_token: Secret


@dataclass(frozen=True)
class SignOut(SyncCommand[None]):
    """End the session one is in; that it has ended already is fine."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class EndSession(SyncCommand[None]):
    """End one of one's own sessions."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class EndSessions(SyncCommand[None]):
    """End every session of one's own."""

    user_id: UUID
