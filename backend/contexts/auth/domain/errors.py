"""The ways signing in says no."""

from __future__ import annotations

from typing import ClassVar

from backend.kernel.messages.refusals import Denied, NotFound


class _Unauthenticated:
    """What does not prove who somebody is."""

    status: ClassVar[int] = 401

    def headers(self) -> dict[str, str]:
        """The header that RFC 9110 asks for in every 401."""
        return {"WWW-Authenticate": "Bearer"}


class InvalidCredentials(_Unauthenticated, Denied):
    """No active account has this name and this password."""

    keeps_effects = True


class InvalidCode(_Unauthenticated, Denied):
    """The code is wrong, used, expired or exhausted, or belongs to no sign-in. Sign in again for a new one."""

    keeps_effects = True


class InvalidRefreshToken(_Unauthenticated, Denied):
    """The refresh token is malformed, expired or used up, or its session has ended. Sign in again."""

    keeps_effects = True


class SessionNotFound(NotFound):
    """You have no such session."""


class Busy(Denied):
    """Too many people sign in right now; nothing was checked or counted. Try again after Retry-After."""

    status: ClassVar[int] = 503

    def headers(self) -> dict[str, str]:
        """Retry-After, in seconds."""
        return {"Retry-After": "2"}
