"""The account that signs in."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.authority import ADMIN


@dataclass(eq=False)
class Account(Aggregate):
    """What a sign-in needs of a user. It records the events of signing in.

    Attributes:
        pending: registered where verification is required, and not verified yet.
        password_version: raised with each change of the password.
    """

    user_id: UUID
    email: str
    name: str
    language: str
    roles: tuple[str, ...]
    is_active: bool
    email_verified: bool
    pending: bool
    two_step: bool
    password_version: int

    @property
    def is_admin(self) -> bool:
        """Whether they administer."""
        return ADMIN in self.roles
