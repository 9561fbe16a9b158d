"""Authority: what somebody must be at the moment when their command is processed, not only when it was accepted.

A handler says what its actor must be: `@handlers.on(SetRoles, may=admin)`. The receiver asks in the transaction of the
claim, so nobody who was deactivated or demoted meanwhile has anything done. A command in several steps is asked about
at each step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

ADMIN = "admin"
"""The role of those who administer."""


@dataclass(frozen=True)
class Account:
    """Somebody whose account is active at present."""

    user_id: UUID
    roles: frozenset[str]


May = Callable[[Any, Account], bool]
"""From a message and the account of its actor to whether the actor may have it done."""


def admin(_message: Any, actor: Account) -> bool:
    """Administrators may."""
    return ADMIN in actor.roles


def oneself(message: Any, actor: Account) -> bool:
    """The user whom the message is about may; it names them in `user_id`."""
    return bool(message.user_id == actor.user_id)


def oneself_or_admin(message: Any, actor: Account) -> bool:
    """Both may."""
    return oneself(message, actor) or admin(message, actor)
