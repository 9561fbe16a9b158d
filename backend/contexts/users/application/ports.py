"""Ports of the users context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from backend.contexts.users.domain.links import Link, Occasion, Purpose
from backend.contexts.users.domain.user import User
from backend.kernel.messages.attempts import Attempts
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import EmailAddress


class Users(Protocol):
    """The stored users."""

    def add(self, user: User) -> None:
        """Store a new user.

        Raises:
            EmailTaken, UsernameTaken: another user has it.
        """

    def get(self, user_id: UUID) -> User:
        """One user, to be changed; locked against other changes.

        Raises:
            UserNotFound: it does not exist.
        """

    def peek(self, user_id: UUID) -> User:
        """One user as it is now, for slow work before the change. Nothing is locked and no transaction stays open.

        Raises:
            UserNotFound: it does not exist.
        """

    def save(self, user: User) -> None:
        """Store a change of a unique field.

        Raises:
            EmailTaken, UsernameTaken: another user has it.
        """

    def claim_username(self, user: User) -> None:
        """Give a user the username wanted at registration.

        Raises:
            UsernameTaken: another user has it by now; the rest of the change is kept.
        """

    def remove(self, user: User) -> None:
        """Delete a user and everything that belongs to it."""

    def hold_address(self, email: EmailAddress) -> None:
        """Lock an address until the transaction ends. Take this lock before that of any user when you remove its
        pending accounts: two transactions that remove each other's accounts would deadlock.
        """

    def holder_of(self, email: EmailAddress) -> User | None:
        """The user with this address, to be changed, as with `get`. Pending accounts do not hold their address."""

    def waiting_for(self, email: EmailAddress) -> Sequence[User]:
        """The pending accounts with this address, newest first, to be changed, as with `get`."""

    def is_username_taken(self, username: str) -> bool:
        """Whether a user has this username, ignoring case."""

    def is_last_admin(self, user: User) -> bool:
        """Whether no other active admin would remain. The question is locked until the transaction ends."""


class Links(Protocol):
    """The mailed links. A link works once; a newer one ends the older one of the same purpose."""

    def issue(self, user_id: UUID, purpose: Purpose, occasion: Occasion, email: EmailAddress) -> Secret | None:
        """The token of a new link; None if the hourly limit of the occasion or of the address is reached.

        Args:
            email: the address that gets the mail and that the link verifies.
        """

    def find(self, token: Secret, *purposes: Purpose) -> Link:
        """A valid link, for slow work before it is used. Nothing is locked and no transaction stays open.

        Raises:
            InvalidLink: forged, used, ended, expired, or for another purpose.
        """

    def use(self, token: Secret, *purposes: Purpose) -> None:
        """Use a valid link; it works only once. Its owner is locked, as with `Users.get`.

        Raises:
            InvalidLink: forged, used, ended, expired, or for another purpose.
        """

    def end(self, user_id: UUID, *purposes: Purpose) -> None:
        """End the user's links for these purposes."""


class PasswordHasher(Protocol):
    """Hashes passwords, slowly on purpose."""

    def hash(self, password: Secret) -> str:
        """The hash of a password, for `verify`."""

    def verify(self, password: Secret, password_hash: str) -> bool:
        """Whether the password matches the hash, in the same time either way."""


@dataclass(frozen=True)
class UsersPorts:
    """The ports of a users handler, opened for one transaction.

    Attributes:
        turn: waits for a user's turn to have a password hashed in an API process, for the time inside; raises Busy.
        accepted_at: when the command was accepted.
        verification_required: whether an account works only after its address is verified.
    """

    users: Users
    links: Links
    passwords: PasswordHasher
    attempts: Attempts
    turn: Callable[[UUID], AbstractContextManager[None]]
    accepted_at: datetime
    verification_required: bool = False
