"""What may be ordered of the users context."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.contexts.users.domain.user import PersonName
from backend.kernel.messages.message import Command, SyncCommand
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class CreateUser(Command):
    """Give somebody an account under an address nobody has yet."""

    user_id: UUID
    name: PersonName
    email: str
    password: Secret
    username: str | None = None
    phone_number: str | None = None
    gender: str | None = None
    age: int | None = None
    language: str = "en"


@dataclass(frozen=True)
class CreateAdmin(SyncCommand[None]):
    """Give an operator an account that administers, under an address that counts as verified."""

    user_id: UUID
    name: PersonName
    email: str
    password: Secret


@dataclass(frozen=True)
class UpdateProfile(Command):
    """Change what somebody says about themself.

    Attributes:
        changes: the fields present, by name; None clears one.
        expected_version: see `require_version`; the same in every command below.
    """

    user_id: UUID
    changes: dict[str, str | int | None]
    expected_version: int | None = None


@dataclass(frozen=True)
class DeleteUser(Command):
    """End an account: the profile is gone and the address free again."""

    user_id: UUID
    expected_version: int | None = None


@dataclass(frozen=True)
class ActivateUser(Command):
    """Let somebody in again."""

    user_id: UUID
    expected_version: int | None = None


@dataclass(frozen=True)
class DeactivateUser(Command):
    """Shut somebody out, at once."""

    user_id: UUID
    expected_version: int | None = None


@dataclass(frozen=True)
class SetRoles(Command):
    """Give somebody exactly these roles."""

    user_id: UUID
    roles: list[str]
    expected_version: int | None = None


@dataclass(frozen=True)
class ChangePassword(Command):
    """Another password for somebody who knows the old one.

    Attributes:
        session_id: the session that stays; every other one ends.
    """

    user_id: UUID
    session_id: UUID
    old_password: Secret
    new_password: Secret
    expected_version: int | None = None


@dataclass(frozen=True)
class RequestPasswordReset(Command):
    """Mail a link to whoever has this address, if anybody. Nobody is told whether."""

    email: str


@dataclass(frozen=True)
class RequestVerification(Command):
    """Mail a link to the account that waits for a proof of this address, if any. Nobody is told whether."""

    email: str


@dataclass(frozen=True)
class ResetPassword(SyncCommand[None]):
    """Another password for somebody who holds the token of a mailed link."""

    token: Secret
    new_password: Secret


@dataclass(frozen=True)
class VerifyEmail(SyncCommand[None]):
    """The token of a link proves the address it was mailed to."""

    token: Secret


@dataclass(frozen=True)
class ChangeEmail(SyncCommand[None]):
    """Ask for another address; it counts once its link was followed."""

    user_id: UUID
    email: str
    password: Secret


@dataclass(frozen=True)
class SwitchTwoStep(SyncCommand[None]):
    """Ask for a code at sign-in, or no longer."""

    user_id: UUID
    enabled: bool
    password: Secret
