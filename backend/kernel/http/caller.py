"""The caller of a request, and the errors of authentication."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from backend.kernel.messages.authority import ADMIN

WITHOUT_ROLE = ("none", "public", "signed_in")
"""What guards call the access that needs no role. Any other is the name of a role."""


class Caller(NamedTuple):
    """The caller: the claims of the access token that this API's own state confirms."""

    user_id: UUID
    session_id: UUID
    roles: tuple[str, ...]
    token_expires_at: int = 0
    """`exp` of the access token: seconds since 1970."""
    authenticated_at: int = 0
    """The time of the last authentication, in seconds since 1970."""
    may_administer: bool = True
    """Whether the authentication suffices for the role `admin`."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller may see and change everything."""
        return self.may_administer and ADMIN in self.roles

    def has_role(self, role: str) -> bool:
        """Whether the caller has that role, or may see and change everything."""
        return self.is_admin or (role != ADMIN and role in self.roles)


class InvalidToken(Exception):
    """The access token is missing, malformed or expired, or its session has ended."""


class SessionEnded(InvalidToken):
    """The access token is ours and has not expired, but was revoked."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self.caller = caller


Authenticate = Callable[[str], Caller]
"""Returns the caller of an access token; raises InvalidToken if the token is not valid."""
