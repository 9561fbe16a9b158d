"""Refusals of the auth context."""

from __future__ import annotations

from backend.kernel.messages.refusals import NotFound, Refusal, RefusalKind


class Unproven(Refusal):
    """The caller did not prove who they are."""

    kind = RefusalKind.UNPROVEN
    keeps_effects = True


class InvalidCredentials(Unproven):
    """The account or the password is incorrect, or the account is not active."""


class InvalidCode(Unproven):
    """The code is wrong, expired or already used, or has had too many attempts. Sign in again to get a new one."""


class InvalidRefreshToken(Unproven):
    """The refresh token is malformed, expired or already used, or its session has ended. Sign in again."""


class SessionNotFound(NotFound):
    """The session does not exist, or is not yours."""
