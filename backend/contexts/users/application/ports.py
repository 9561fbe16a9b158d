"""What the users context needs of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from backend.contexts.users.domain.links import Link, Occasion, Purpose
from backend.contexts.users.domain.user import User
from backend.kernel.messages.secret import Secret


class Users(Protocol):
    """The users there are."""

    def add(self, user: User) -> None:
        """Keep a new user.

        Raises:
            EmailTaken, UsernameTaken: another user has it.
        """

    def get(self, user_id: UUID) -> User:
        """One user, to be changed; nobody else changes them meanwhile.

        Raises:
            UserNotFound: there is none.
        """

    def peek(self, user_id: UUID) -> User:
        """One user as they are now, for slow work before the change; nothing is locked, no transaction is left open.

        Raises:
            UserNotFound: there is none.
        """

    def save(self, user: User) -> None:
        """Keep a change of what must be unique.

        Raises:
            EmailTaken, UsernameTaken: another user has it.
        """

    def claim_username(self, user: User) -> None:
        """Give a user the username they waited for.

        Raises:
            UsernameTaken: another user has it by now; the rest of the change stands.
        """

    def remove(self, user: User) -> None:
        """Forget a user and everything kept with them."""

    def hold_address(self, email: str) -> None:
        """Until the transaction ends nobody else holds this address. Whoever removes those that wait for one holds
        it before any user: of two who remove each other, neither would come to an end.
        """

    def holder_of(self, email: str) -> User | None:
        """The one who has this address, to be changed, like `get`. Pending accounts do not have theirs."""

    def waiting_for(self, email: str) -> Sequence[User]:
        """The pending accounts under this address, newest first, to be changed, like `get`."""

    def is_username_taken(self, username: str) -> bool:
        """Whether somebody has this username, in any case."""

    def is_last_admin(self, user: User) -> bool:
        """Whether no other active admin would remain. Until the transaction ends nobody else gets an answer."""


class Links(Protocol):
    """The links that were mailed: single use, and a newer one ends the older of its purpose."""

    def issue(self, user_id: UUID, purpose: Purpose, occasion: Occasion, email: str | None = None) -> Secret | None:
        """The token of a new link; None when the occasion has had its share of this hour.

        Args:
            email: the address that the link proves, when it is not the user's own.
        """

    def owner(self, token: Secret, purpose: Purpose) -> UUID:
        """Whose live link it is, for slow work before it is used; no transaction is left open.

        Raises:
            InvalidLink: forged, used, ended or expired.
        """

    def address(self, token: Secret, *purposes: Purpose) -> str:
        """The address that a live link proves.

        Raises:
            InvalidLink: forged, used, ended, expired, or for another purpose.
        """

    def use(self, token: Secret, *purposes: Purpose) -> Link:
        """Use a live link up; its owner is locked, like with `Users.get`.

        Raises:
            InvalidLink: forged, used, ended, expired, or for another purpose.
        """

    def end(self, user_id: UUID, *purposes: Purpose) -> None:
        """End the user's links for these purposes."""


class PasswordHasher(Protocol):
    """One way, and slow on purpose."""

    def hash(self, password: Secret) -> str:
        """A text that `verify` knows the password by."""

    def verify(self, password: Secret, password_hash: str) -> bool:
        """Whether it is the password, taking the same time either way."""


class Attempts(Protocol):
    """The throttle on guessing a signed-in user's password. The address that guesses is in the current context."""

    def turn(self, user_id: UUID) -> AbstractContextManager[None]:
        """A turn among all who have a password checked by this process now, for the time inside.

        Raises:
            Refusal: too many wait already.
        """

    def reserve(self, user_id: UUID) -> None:
        """Count one attempt as failed before it is made, at once, in a transaction of its own.

        Raises:
            TooManyAttempts: there were too many lately; the right password is refused as well.
        """

    def succeeded(self, user_id: UUID) -> None:
        """The attempt was right after all: take back what `reserve` counted, at once, like `reserve`."""


@dataclass(frozen=True)
class UsersPorts:
    """What a users handler may reach, opened for one transaction.

    Attributes:
        verification_required: whether an account is of use only once its address is proven.
    """

    users: Users
    links: Links
    passwords: PasswordHasher
    attempts: Attempts
    verification_required: bool = False
