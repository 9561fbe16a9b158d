"""Commands of the auth context. All of them are synchronous."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from backend.kernel.messages.message import SyncCommand
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class TokenPair:
    """The tokens of a signed-in client.

    Attributes:
        expires_in: seconds until the access token expires.
        two_step_missing: the sign-in of an administrator without two-step sign-in.
    """

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int
    refresh_token: str = field(repr=False)
    two_step_missing: bool = False


@dataclass(frozen=True)
class CodeSent:
    """The password was correct, and a code was mailed that completes the sign-in.

    Attributes:
        expires_in: seconds until the challenge expires.
    """

    two_step: bool
    challenge: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True)
class SignIn(SyncCommand[TokenPair | CodeSent]):
    """Sign in with a password.

    Attributes:
        login: e-mail address or username; case is ignored.
    """

    login: str
    password: Secret


@dataclass(frozen=True)
class Reauthenticate(SyncCommand[TokenPair | CodeSent]):
    """Prove the password again, in the current session."""

    user_id: UUID
    session_id: UUID
    password: Secret


@dataclass(frozen=True)
class SignInWithCode(SyncCommand[TokenPair]):
    """Complete a sign-in or a reauthentication with the mailed code."""

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
    """End the caller's session. An ended session is fine."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class EndSession(SyncCommand[None]):
    """End one of the caller's sessions."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class EndSessions(SyncCommand[None]):
    """End every session of the caller."""

    user_id: UUID
