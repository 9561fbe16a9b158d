"""Events of the users context: what other contexts may use."""

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
    """An account was created."""

    email: str
    name: str
    username: str | None = None


@dataclass(frozen=True)
class UserUpdated(UserEvent):
    """The profile changed."""


@dataclass(frozen=True)
class UserActivated(UserEvent):
    """An administrator activated the user."""


@dataclass(frozen=True)
class UserDeactivated(UserEvent):
    """An administrator deactivated the user."""


@dataclass(frozen=True)
class UserRolesChanged(UserEvent):
    """An administrator changed the user's roles."""

    roles: list[str]


@dataclass(frozen=True)
class UserSignedOut(UserEvent):
    """An administrator ended the user's sessions."""


@dataclass(frozen=True)
class UserDeleted(UserEvent):
    """The account was deleted."""


@dataclass(frozen=True)
class EmailVerified(UserEvent):
    """The user verified the address."""


@dataclass(frozen=True)
class EmailChanged(UserEvent):
    """The user has another, verified address."""


@dataclass(frozen=True)
class TwoStepChanged(UserEvent):
    """Two-step sign-in was turned on or off."""

    enabled: bool


@dataclass(frozen=True)
class UserMail(UserEvent):
    """An event that causes a mail. It contains an address, perhaps a secret, so it is not published outside.

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
    """The reader of this address can verify it with the token."""

    token: Secret


@dataclass(frozen=True)
class PasswordResetRequested(UserMail):
    """The reader of this address can set a new password with the token, for 15 minutes."""

    token: Secret


@dataclass(frozen=True)
class EmailChangeRequested(UserMail):
    """The reader of the new address, `email`, can verify it with the token."""

    token: Secret


@dataclass(frozen=True)
class EmailChangeNoticed(UserMail):
    """The old address, `email`, gets a notice of the requested change."""


@dataclass(frozen=True)
class TakenEmailRegistered(UserMail):
    """Somebody tried to register the address of an existing account. Only its owner learns that."""
