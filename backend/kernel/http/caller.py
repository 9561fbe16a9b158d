"""Who calls, and the ways that a token fails to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID


class Caller(NamedTuple):
    """Who calls, as far as this API's own state confirms what the access token says."""

    user_id: UUID
    session_id: UUID
    roles: tuple[str, ...]
    token_expires_at: int = 0
    """`exp` of the access token: seconds since 1970."""

    @property
    def is_admin(self) -> bool:
        """Whether everything is theirs to see and change."""
        return "admin" in self.roles


class InvalidToken(Exception):
    """The access token is missing, malformed or expired, or its session has ended."""


class SessionEnded(InvalidToken):
    """The access token is ours and has not expired, but it is no longer good."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self.caller = caller


Authenticate = Callable[[str], Caller]
"""From an access token to the caller; raises InvalidToken when the token proves nothing."""
