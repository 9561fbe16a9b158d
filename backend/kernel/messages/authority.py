"""Authority: what an actor must be when the command is processed, not only when it was accepted.

A handler says what its actor must be: `@handlers.on(SetRoles, may=admin)`. The receiver checks it in the transaction
of the claim, so a command of a user who was deactivated or demoted meanwhile is refused. A command of several steps
is checked at each step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

ADMIN = "admin"
"""The role of administrators."""


@dataclass(frozen=True)
class Account:
    """A user with an active account."""

    user_id: UUID
    roles: frozenset[str]


May = Callable[[Any, Account], bool]
"""Whether the account of the actor may have the message processed."""


def admin(_message: Any, actor: Account) -> bool:
    """Administrators may."""
    return ADMIN in actor.roles


def has_role(role: str) -> May:
    """Users with that role may, and administrators."""

    def may(_message: Any, actor: Account) -> bool:
        return role in actor.roles or ADMIN in actor.roles

    return may


def oneself(message: Any, actor: Account) -> bool:
    """The user whom the message concerns may; the message names it in `user_id`."""
    return bool(message.user_id == actor.user_id)


def oneself_or_admin(message: Any, actor: Account) -> bool:
    """Both may."""
    return oneself(message, actor) or admin(message, actor)
