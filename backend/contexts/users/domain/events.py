"""What other contexts may know of users: the published language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from backend.kernel.messages.event import Event
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class UserEvent(Event):
    """Something happened to a user."""

    user_id: UUID

    @property
    def subject(self) -> str:
        """The user's id."""
        return str(self.user_id)


@dataclass(frozen=True)
class UserCreated(UserEvent):
    """Somebody registered, or was registered."""

    email: str
    name: str
    username: str | None = None


@dataclass(frozen=True)
class UserUpdated(UserEvent):
    """The profile changed."""


@dataclass(frozen=True)
class UserActivated(UserEvent):
    """An administrator let them in again."""


@dataclass(frozen=True)
class UserDeactivated(UserEvent):
    """An administrator shut them out."""


@dataclass(frozen=True)
class UserRolesChanged(UserEvent):
    """An administrator gave or took roles."""

    roles: list[str]


@dataclass(frozen=True)
class UserDeleted(UserEvent):
    """The account is gone."""


@dataclass(frozen=True)
class EmailVerified(UserEvent):
    """They have shown that the address is theirs."""


@dataclass(frozen=True)
class EmailChanged(UserEvent):
    """They have another address, and have shown that it is theirs."""


@dataclass(frozen=True)
class TwoStepChanged(UserEvent):
    """Signing in now takes a code, or no longer does."""

    enabled: bool


@dataclass(frozen=True)
class UserMail(UserEvent):
    """Something a user is told by mail. It carries an address, perhaps a secret, so it stays inside.

    Attributes:
        email: where the mail goes.
        language: of the mail, such as `en` or `es`.
    """

    public: ClassVar[bool] = False

    email: str
    name: str
    language: str


@dataclass(frozen=True)
class PasswordChanged(UserMail):
    """The password was changed.

    Attributes:
        session_id: the session in which it was changed; None when a mailed link was followed.
    """

    session_id: UUID | None = None


@dataclass(frozen=True)
class EmailVerificationRequested(UserMail):
    """Whoever reads this address may prove it with the token."""

    token: Secret


@dataclass(frozen=True)
class PasswordResetRequested(UserMail):
    """Whoever reads this address may set a new password with the token, for 15 minutes."""

    token: Secret


@dataclass(frozen=True)
class EmailChangeRequested(UserMail):
    """The new address, `email`, may be proven with the token."""

    token: Secret


@dataclass(frozen=True)
class EmailChangeNoticed(UserMail):
    """The old address, `email`, is told that another shall take its place."""


@dataclass(frozen=True)
class TakenEmailRegistered(UserMail):
    """Somebody tried to register the address of an existing account; its owner is told, nobody else."""
