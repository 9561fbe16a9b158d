"""Queries of the users context, and their views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from backend.contexts.users.domain.user import Profile
from backend.kernel.messages.message import Query
from backend.kernel.messages.paging import Page
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class StoredUser:
    """What is stored of a user beside the profile."""

    id: UUID
    email: str
    name: str
    first_name: str | None
    middle_name: str | None
    last_name: str | None
    roles: list[str]
    is_active: bool
    email_verified: bool
    two_step: bool
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True)
class UserView(Profile, StoredUser):
    """A user in full, for the user and for admins."""

    @property
    def public(self) -> PublicUserView:
        """What every signed-in user may see."""
        return PublicUserView(self.id, self.name, self.created_at)


@dataclass(frozen=True)
class PublicUserView:
    """A user as other users see it."""

    id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True)
class GetUser(Query[UserView]):
    """One user by id. Refused with UserNotFound."""

    user_id: UUID


@dataclass(frozen=True)
class ListUsers(Query[Page[UserView]]):
    """Users, newest first.

    Attributes:
        q: the beginning of a name, an e-mail address or a username, ignoring case.
        after: where the previous page ended.
    """

    limit: int
    after: tuple[Any, ...] | None = None
    email: str | None = None
    username: str | None = None
    is_active: bool | None = None
    q: str | None = None


@dataclass(frozen=True)
class AccountView:
    """What a sign-in needs of a user. The password hash is not part of it: see `ProvePassword`.

    Attributes:
        pending: registered while verification was required, and not verified yet: it holds neither
            address nor username, and several accounts may wait for one address.
        language: of mails, `en` or `es`.
        password_version: raised with each change of the password.
    """

    id: UUID
    email: str
    name: str
    language: str
    roles: list[str]
    is_active: bool
    email_verified: bool
    pending: bool
    two_step: bool
    password_version: int


@dataclass(frozen=True)
class FindAccount(Query[AccountView | None]):
    """The account that signs in with this address or this username. Give one of them; case is ignored.

    An account that holds the address comes before a pending one, then the newest.
    """

    email: str | None = None
    username: str | None = None


@dataclass(frozen=True)
class GetAccount(Query[AccountView | None]):
    """The account of one user by id.

    Attributes:
        hold: lock the user against changes and other holders until the transaction of the query ends.
    """

    user_id: UUID
    hold: bool = False


@dataclass(frozen=True)
class ProvePassword(Query[int | None]):
    """The version of a user's password if it matches, else None.

    It takes as long for any user, and holds no connection while it hashes.

    Attributes:
        user_id: None for an account that does not exist: no password matches.
    """

    user_id: UUID | None
    password: Secret


@dataclass(frozen=True)
class HashCount:
    """How many passwords have hashes of one kind.

    Attributes:
        key: the id of the secret key's pepper.
        rounds: the cost.
    """

    key: str
    rounds: int
    accounts: int


@dataclass(frozen=True)
class CountHashes(Query[list[HashCount]]):
    """Every kind of password hash in use."""


@dataclass(frozen=True)
class AdminContact:
    """How to reach an administrator by mail.

    Attributes:
        language: of mails, `en` or `es`.
    """

    email: str
    language: str


@dataclass(frozen=True)
class ListAdmins(Query[list[AdminContact]]):
    """Every active administrator."""
