"""The ways signing in says no."""

from __future__ import annotations

from backend.kernel.messages.refusals import NotFound, Refusal, RefusalKind


class Unproven(Refusal):
    """What was presented does not prove who somebody is."""

    kind = RefusalKind.UNPROVEN
    keeps_effects = True


class InvalidCredentials(Unproven):
    """No active account has this name and this password."""


class InvalidCode(Unproven):
    """The code is wrong, used, expired or exhausted, or belongs to no sign-in. Sign in again for a new one."""


class InvalidRefreshToken(Unproven):
    """The refresh token is malformed, expired or used up, or its session has ended. Sign in again."""


class SessionNotFound(NotFound):
    """You have no such session."""


class Busy(Refusal):
    """Too many people sign in right now; nothing was checked or counted. Try again after Retry-After."""

    kind = RefusalKind.BUSY
    retry_after = 2
