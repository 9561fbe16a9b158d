"""Who signs in."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from backend.kernel.messages.aggregate import Aggregate


@dataclass(eq=False)
class Account(Aggregate):
    """A user as signing in knows them; what happens to them here is recorded here."""

    user_id: UUID
    email: str
    name: str
    language: str
    roles: tuple[str, ...]
    is_active: bool
    email_verified: bool
    two_step: bool
    password_hash: str = field(repr=False)
