"""Commands of the users context."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.contexts.users.domain.user import PersonName, Profile, ProfileChanges
from backend.kernel.messages.message import Command, SyncCommand
from backend.kernel.messages.secret import Secret


@dataclass(frozen=True)
class NewUser(Command):
    """What an account has beside its profile when it is registered."""

    user_id: UUID
    name: PersonName
    email: str
    password: Secret


@dataclass(frozen=True)
class CreateUser(Profile, NewUser):
    """Register an account under an address that is not taken."""

    language: str = "en"


@dataclass(frozen=True)
class CreateAdmin(SyncCommand[None]):
    """Create an administrator, whose address counts as verified."""

    user_id: UUID
    name: PersonName
    email: str
    password: Secret


@dataclass(frozen=True)
class UpdateProfile(Command):
    """Change a user's profile.

    Attributes:
        changes: the given fields, by name; None clears one.
        expected_version: see `require_version`; the same in every command below.
    """

    user_id: UUID
    changes: ProfileChanges
    expected_version: int | None = None


@dataclass(frozen=True)
class DeleteUser(Command):
    """Delete an account with its profile. The address can be registered again."""

    user_id: UUID
    expected_version: int | None = None


@dataclass(frozen=True)
class ActivateUser(Command):
    """Let a deactivated user sign in again."""

    user_id: UUID
    expected_version: int | None = None


@dataclass(frozen=True)
class DeactivateUser(Command):
    """Refuse a user from now on and end their sessions."""

    user_id: UUID
    expected_version: int | None = None


@dataclass(frozen=True)
class SetRoles(Command):
    """Set a user's roles: exactly these."""

    user_id: UUID
    roles: list[str]
    expected_version: int | None = None


@dataclass(frozen=True)
class SignOutUser(Command):
    """End every session of a user."""

    user_id: UUID
    expected_version: int | None = None


@dataclass(frozen=True)
class ChangePassword(Command):
    """Change the password of a user who knows the current one.

    Attributes:
        session_id: the session to keep; every other one ends.
    """

    user_id: UUID
    session_id: UUID
    old_password: Secret
    new_password: Secret
    expected_version: int | None = None


@dataclass(frozen=True)
class RequestPasswordReset(Command):
    """Mail a link to the account with this address, if any. The caller does not learn whether."""

    email: str


@dataclass(frozen=True)
class RequestVerification(Command):
    """Mail a link to the account that has to verify this address, if any. The caller does not learn whether."""

    email: str


@dataclass(frozen=True)
class ResetPassword(SyncCommand[None]):
    """Set a new password with the token of a mailed link."""

    token: Secret
    new_password: Secret


@dataclass(frozen=True)
class VerifyEmail(SyncCommand[None]):
    """Verify the address that a link was mailed to, with its token.

    Attributes:
        password: of the registration, where the account is pending.
    """

    token: Secret
    password: Secret | None = None


@dataclass(frozen=True)
class ChangeEmail(SyncCommand[None]):
    """Request another address. It changes when the mailed link is followed."""

    user_id: UUID
    email: str
    password: Secret


@dataclass(frozen=True)
class SwitchTwoStep(SyncCommand[None]):
    """Turn two-step sign-in on or off."""

    user_id: UUID
    enabled: bool
    password: Secret
