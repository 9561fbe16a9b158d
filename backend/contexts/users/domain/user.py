"""A user: the profile, the roles, and the credentials. Sessions belong to `auth`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypedDict
from uuid import UUID

from backend.contexts.users.domain import rules
from backend.contexts.users.domain.events import (
    EmailChanged,
    EmailChangeNoticed,
    EmailChangeRequested,
    EmailVerificationRequested,
    EmailVerified,
    PasswordChanged,
    PasswordResetRequested,
    TakenEmailRegistered,
    TwoStepChanged,
    UserActivated,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserSignedOut,
    UserUpdated,
)
from backend.kernel.messages.aggregate import FieldRules, LastWriteWins
from backend.kernel.messages.refusals import FieldError, Invalid
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import EmailAddress, folded
from backend.roles import Role

_LONGEST_KEY = 200
_PARTS = ("first_name", "middle_name", "last_name")


def _known_roles(roles: list[str], field: str) -> None:
    if unknown := set(roles) - set(Role):
        raise Invalid(errors=[FieldError(field, f"Unknown: {', '.join(sorted(unknown))}.")])


_RULES: FieldRules = {
    **dict.fromkeys(("name", *_PARTS), rules.person_name),
    **dict.fromkeys(("username", "wanted_username"), rules.username),
    "phone_number": rules.phone_number,
    "gender": rules.gender,
    "age": rules.age,
    "roles": _known_roles,
}
_OPTIONAL = tuple(name for name in _RULES if name not in ("name", *_PARTS))  # a `PersonName` is valid already


@dataclass(frozen=True)
class PersonName:
    """A person's name: in full, and in parts if they gave parts. Each was checked by `rules.person_name`."""

    full: str
    first: str | None = None
    middle: str | None = None
    last: str | None = None

    @classmethod
    def of_parts(cls, first: str | None, middle: str | None = None, last: str | None = None) -> PersonName:
        """The full name is the parts joined by single spaces.

        Raises:
            Invalid: no part, or too long together.
        """
        full = " ".join(part for part in (first, middle, last) if part)
        return cls(rules.person_name(full), first, middle, last)


@dataclass(frozen=True)
class Profile:
    """The optional fields of a profile."""

    username: str | None = None
    phone_number: str | None = None
    gender: str | None = None
    age: int | None = None


_PLAIN = tuple(name for name in Profile.__dataclass_fields__ if name != "username")
"""The fields that are only set; a username has a key as well, and a pending account none."""


class ProfileChanges(TypedDict, total=False):
    """Changes of a profile. An absent field stays as it is."""

    name: str
    first_name: str | None
    middle_name: str | None
    last_name: str | None
    username: str | None
    phone_number: str | None
    gender: str | None
    age: int | None


@dataclass(eq=False, repr=False)
class User(LastWriteWins):
    """A user account. Rows become users without a check: they were checked when they were made.

    Attributes:
        email: unique among accounts that are not pending.
        username_key: the username in lower case; unique.
        pending: registered where verification is required, and not verified yet. A pending account
            holds neither its address nor a username: the first to verify the address gets both.
        wanted_username: what a pending account gets when it is verified, if still free.
        language: of mails.
        password_version: raised with each change of the password, not when its hash is renewed.
        version: raised by the mapper with each change.

    Raises:
        Invalid: a field breaks its rule.
    """

    field_rules: ClassVar[FieldRules] = _RULES

    id: UUID
    email: EmailAddress
    name: str
    first_name: str | None
    middle_name: str | None
    last_name: str | None
    password_hash: str
    name_key: str = field(init=False)
    username: str | None = None
    username_key: str | None = field(init=False)
    wanted_username: str | None = None
    phone_number: str | None = None
    gender: str | None = None
    age: int | None = None
    roles: list[str] = field(default_factory=list)
    is_active: bool = True
    email_verified: bool = False
    pending: bool = False
    two_step: bool = False
    language: str = "en"
    password_version: int = 1
    version: int = field(init=False)

    def __post_init__(self) -> None:
        self.check({name: getattr(self, name) for name in _OPTIONAL})
        self.username_key = folded(self.username) if self.username else None
        self.name_key = name_key(self.name)
        if not self.name:
            raise ValueError("a user has a name")
        if self.pending and (self.username or self.email_verified):
            raise ValueError("a pending account has neither a username nor a verified address")

    @classmethod
    def register(  # noqa: PLR0913 - what an account begins with
        cls,
        user_id: UUID,
        name: PersonName,
        email: EmailAddress,
        password_hash: str,
        profile: Profile = Profile(),
        *,
        language: str = "en",
        pending: bool = False,
    ) -> User:
        """A new, active user without roles, whose address is not verified yet."""
        user = cls(
            user_id,
            email,
            name.full,
            name.first,
            name.middle,
            name.last,
            password_hash,
            username=None if pending else profile.username,
            wanted_username=profile.username if pending else None,
            language=language,
            pending=pending,
            **{name: getattr(profile, name) for name in _PLAIN},
        )
        user.record(UserCreated(user_id, email, name.full, user.username))
        return user

    @property
    def is_active_admin(self) -> bool:
        """Whether this is an administrator who may sign in."""
        return self.is_active and Role.ADMIN in self.roles

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What the password must not equal."""
        return (self.email, self.username or self.wanted_username, self.name)

    def update(self, given: ProfileChanges, accepted_at: datetime) -> None:
        """Change the given fields. A changed part recomposes the name; a changed name clears the parts not given.

        A field that a command accepted later has written stays as it is.

        Raises:
            Invalid: the name would be empty or too long.
        """
        before, changes = self._profile(), self._newest(given, accepted_at)
        self.check(changes)
        self._rename(changes)
        if "username" in changes:
            self.take_username(changes["username"])
        for name in changes.keys() & _PLAIN:
            setattr(self, name, changes[name])
        if self._profile() != before:
            self.record(UserUpdated(self.id))

    def take_username(self, username: str | None) -> None:
        """Set or clear the username."""
        self.username = username
        self.username_key = folded(username) if username else None

    def take_wanted_username(self) -> None:
        """Set the username wanted at registration."""
        self.take_username(self.wanted_username)

    def activate(self, accepted_at: datetime) -> None:
        """Let the user sign in again."""
        if self.newest({"is_active": True}, accepted_at) and not self.is_active:
            self.is_active = True
            self.record(UserActivated(self.id))

    def deactivate(self, accepted_at: datetime) -> None:
        """Refuse the user from now on."""
        if self.newest({"is_active": False}, accepted_at) and self.is_active:
            self.is_active = False
            self.record(UserDeactivated(self.id))

    def set_roles(self, roles: list[str], accepted_at: datetime) -> None:
        """Set exactly these roles."""
        if self.newest({"roles": roles}, accepted_at) and roles != self.roles:
            self.check({"roles": roles})
            self.roles = roles
            self.record(UserRolesChanged(self.id, roles))

    def sign_out(self) -> None:
        """Record that every session ends."""
        self.record(UserSignedOut(self.id))

    def delete(self) -> None:
        """Record that the account is deleted."""
        self.record(UserDeleted(self.id))

    def change_password(self, password_hash: str, session_id: UUID | None = None) -> None:
        """Set a new password hash, and mail a notice."""
        self.password_hash = password_hash
        self.password_version += 1
        self.record(PasswordChanged(self.id, self.email, self.name, self.language, session_id))

    def switch_two_step(self, *, enabled: bool) -> None:
        """Turn two-step sign-in on or off."""
        if enabled != self.two_step:
            self.two_step = enabled
            self.record(TwoStepChanged(self.id, enabled))

    def verify_email(self) -> None:
        """The address is verified."""
        if not self.email_verified:
            self.email_verified, self.pending = True, False
            self.record(EmailVerified(self.id))

    def complete_registration(self) -> None:
        """Hold the address, although it is not verified."""
        self.pending = False

    def change_email(self, email: EmailAddress) -> None:
        """Set another address, which its link verified."""
        self.email, self.email_verified = email, True
        self.record(EmailChanged(self.id))

    def send_verification(self, token: Secret) -> None:
        """Mail a link that verifies the address."""
        self.record(EmailVerificationRequested(self.id, self.email, self.name, self.language, token))

    def send_password_reset(self, token: Secret) -> None:
        """Mail a link that resets the password."""
        self.record(PasswordResetRequested(self.id, self.email, self.name, self.language, token))

    def send_email_change(self, email: EmailAddress, token: Secret) -> None:
        """Mail a link to the new address and a notice to the old one."""
        self.record(EmailChangeRequested(self.id, email, self.name, self.language, token))
        self.record(EmailChangeNoticed(self.id, self.email, self.name, self.language))

    def tell_of_registration(self) -> None:
        """Mail a notice that somebody tried to register this address."""
        self.record(TakenEmailRegistered(self.id, self.email, self.name, self.language))

    def _newest(self, changes: Mapping[str, Any], accepted_at: datetime) -> Mapping[str, Any]:
        """The changes that are not superseded. A name replaces every part, so each part may supersede it."""
        clears = _PARTS if "name" in changes else ()
        opposed = {"name", *_PARTS} if "name" in changes else {"name"}
        if any(self.superseded(field, accepted_at) for field in opposed):
            changes = {field: value for field, value in changes.items() if field not in {"name", *_PARTS}}
            clears = ()
        newest = self.newest({**dict.fromkeys(clears), **changes}, accepted_at)
        return {field: value for field, value in newest.items() if field in changes}

    def _rename(self, changes: Mapping[str, Any]) -> None:
        parts = tuple(changes.get(part, getattr(self, part)) for part in _PARTS)
        if "name" in changes:
            self._call(PersonName(changes["name"], *(changes.get(part) for part in _PARTS)))
        elif parts != (self.first_name, self.middle_name, self.last_name):
            if not any(parts):
                raise Invalid(errors=[FieldError("first_name", "The name would be empty: give `name` instead.")])
            self._call(PersonName.of_parts(*parts))

    def _call(self, name: PersonName) -> None:
        self.name, self.first_name, self.middle_name, self.last_name = name.full, name.first, name.middle, name.last
        self.name_key = name_key(self.name)

    def _profile(self) -> tuple[object, ...]:
        return tuple(getattr(self, field) for field in ("name", *_PARTS, "username", *_PLAIN))


def name_key(name: str) -> str:
    """What a search by name compares: without case, the first 200 characters. Folding may lengthen a name."""
    return folded(name)[:_LONGEST_KEY]
