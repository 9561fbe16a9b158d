"""Request and response bodies of the users context."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from backend.contexts.users.domain import rules
from backend.contexts.users.domain.user import PersonName, Profile
from backend.kernel.http.guards import require_recent_authentication
from backend.kernel.http.paging import PageArguments
from backend.kernel.http.schemas import Flag, SecretText, Text, WholeNumber, apply_rule, example
from backend.kernel.messages.values import email_address
from backend.roles import Role

_NAME: dict[str, Any] = {"minLength": 1, "maxLength": 200}
_USERNAME: dict[str, Any] = {"minLength": 3, "maxLength": 32, "pattern": "^[A-Za-z0-9_.-]+$"}
_PHONE: dict[str, Any] = {"pattern": "^\\+[0-9]{7,15}$"}
_PASSWORD: dict[str, Any] = {"minLength": 8, "maxLength": 128}


class ProfileFields(ma.Schema):
    """Fields of a profile. At creation, `null` is the same as absent. In a change, `null` clears the field."""

    name = Text(rules.person_name, allow_none=True, metadata=example("Ada Lovelace", **_NAME))
    full_name = Text(
        rules.person_name,
        allow_none=True,
        metadata=example("Ada Lovelace", "The same as `name`.", **_NAME),
    )
    first_name = Text(rules.person_name, allow_none=True, metadata=example("Ada", **_NAME))
    middle_name = Text(rules.person_name, allow_none=True, metadata=example("Byron", **_NAME))
    last_name = Text(rules.person_name, allow_none=True, metadata=example("Lovelace", **_NAME))
    username = Text(
        rules.username,
        allow_none=True,
        metadata=example("ada", "Unique, ignoring case.", **_USERNAME),
    )
    phone_number = Text(rules.phone_number, allow_none=True, metadata=example("+34600000000", "E.164.", **_PHONE))
    gender = Text(rules.gender, allow_none=True, metadata=example("F", minLength=1, maxLength=32))
    age = WholeNumber(rules.age, allow_none=True, metadata=example(36, minimum=0, maximum=150))


class NewUser(ProfileFields):
    """A registration: an address, a password, and a name, in full or in parts."""

    email = Text(email_address, required=True, metadata=example("ada@example.com", format="email"))
    password = SecretText(
        rules.password,
        required=True,
        metadata=example("correct horse battery", "8 to 128 characters.", **_PASSWORD),
    )
    confirm_password = SecretText(rules.password_spelling, allow_none=True, metadata=example("correct horse battery"))

    @ma.validates_schema(skip_on_field_errors=False, pass_original=True)
    def _agree(self, data: dict[str, Any], given: Any, **_: Any) -> None:
        """Report every reason at once. `data` contains the fields that are valid by themselves."""
        if not isinstance(given, dict):
            return  # marshmallow has refused what is no object
        errors: dict[str, list[str]] = {}
        if data.get("name") and data.get("full_name") and data["name"] != data["full_name"]:
            errors["full_name"] = ["Must equal `name` when both are given."]
        if all(given.get(field) is None for field in ("name", "full_name", "first_name")):
            missing = "first_name" if given.get("middle_name") or given.get("last_name") else "name"
            errors[missing] = ["Give `name` (or `full_name`), or `first_name`."]
        name = _name_of(data, errors)
        confirmed = data.get("confirm_password")
        password = data.get("password")
        if confirmed is not None and password is not None and confirmed != password:
            errors["confirm_password"] = ["Must equal `password`."]
        if password is not None:
            try:
                apply_rule(lambda text: rules.password(text, _unlike(data, name)), password.value)
            except ma.ValidationError as error:
                errors["password"] = list(error.messages)
        if errors:
            raise ma.ValidationError(errors)

    @ma.post_load
    def _fields(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The command's fields."""
        names = ("email", "password", *Profile.__dataclass_fields__)
        given = {name: data[name] for name in names if data.get(name) is not None}
        return {**given, "name": _name_of(data, {})}


def _name_of(data: dict[str, Any], errors: dict[str, list[str]]) -> PersonName | None:
    full = data.get("name") or data.get("full_name")
    first, middle, last = (data.get(part) for part in ("first_name", "middle_name", "last_name"))
    if full:
        return PersonName(full, first, middle, last)
    if not first:
        return None
    try:
        composed: PersonName = apply_rule(lambda parts: PersonName.of_parts(*parts), (first, middle, last))
    except ma.ValidationError as error:
        errors["first_name"] = [f"The parts together: {text}" for text in error.messages]
        return None
    return composed


class ProfileChanges(ProfileFields):
    """Changes of a profile. An absent field stays as it is; `null` clears a field, except the name."""

    name = Text(
        rules.person_name,
        metadata=example("Ada King", "Clears the parts that are not given.", **_NAME),
    )
    full_name = Text(rules.person_name, metadata=example("Ada King", "The same as `name`.", **_NAME))

    @ma.pre_load
    def _recent(self, data: Any, **_: Any) -> Any:
        """Refuse the caller (403) before the body (422), in the order of the contract."""
        if isinstance(data, dict) and "username" in data:
            require_recent_authentication()
        return data

    @ma.validates_schema(skip_on_field_errors=True)
    def _agree(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("name", data.get("full_name")) != data.get("full_name", data.get("name")):
            raise ma.ValidationError({"full_name": ["Must equal `name` when both are given."]})

    @ma.post_load
    def _fields(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The fields present, under the names of the domain."""
        return {"name" if field == "full_name" else field: value for field, value in data.items()}


class Roles(ma.Schema):
    """The roles a user gets. Any other role is removed."""

    roles = ma.fields.List(
        ma.fields.String(validate=ma.validate.OneOf([role.value for role in Role])),
        required=True,
        metadata=example(["admin"]),
    )

    @ma.post_load
    def _each_once(self, data: dict[str, Any], **_: Any) -> list[str]:
        return sorted(set(data["roles"]))


class NewPassword(ma.Schema):
    """A new password."""

    new_password = SecretText(
        rules.password,
        required=True,
        metadata=example("NewPass123!", "8 to 128 characters.", **_PASSWORD),
    )


class PasswordChange(NewPassword):
    """A new password, and the current one."""

    old_password = SecretText(required=True, metadata=example("OldPass123!"))


class PasswordReset(NewPassword):
    """A new password, and the token of a link."""

    token = SecretText(required=True, metadata=example("IjAxOTBh….…", "From the link in the mail."))


class Verification(ma.Schema):
    """The token of a link, and the password of the registration that it verifies."""

    token = SecretText(required=True, metadata=example("IjAxOTBh….…", "From the link in the mail."))
    password = SecretText(metadata=example("correct horse battery", "For a registration under required verification."))


class Address(ma.Schema):
    """The address that gets a mail, if it has an account."""

    email = Text(email_address, required=True, metadata=example("ada@example.com", format="email"))


class EmailChange(Address):
    """A new address, and the current password."""

    password = SecretText(required=True, metadata=example("correct horse battery"))


class TwoStep(ma.Schema):
    """Whether signing in takes a mailed code as well."""

    enabled = Flag(required=True, metadata=example(value=True))
    password = SecretText(required=True, metadata=example("correct horse battery"))


class MailOnItsWay(ma.Schema):
    """The answer is the same whether or not the account exists."""

    detail = ma.fields.String(required=True, metadata=example("If the address needs a mail, one is on its way."))


def _unlike(data: dict[str, Any], name: PersonName | None) -> tuple[str | None, ...]:
    return (data.get("email"), data.get("username"), name.full if name else None)


class UserSchema(ma.Schema):
    """A user, in full: as the user and admins see it."""

    id = ma.fields.UUID(required=True, metadata=example("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"))
    email = ma.fields.Email(required=True, metadata=example("ada@example.com"))
    username = ma.fields.String(required=True, allow_none=True, metadata=example("ada"))
    name = ma.fields.String(required=True, metadata=example("Ada Lovelace"))
    first_name = ma.fields.String(required=True, allow_none=True)
    middle_name = ma.fields.String(required=True, allow_none=True)
    last_name = ma.fields.String(required=True, allow_none=True)
    phone_number = ma.fields.String(required=True, allow_none=True, metadata=example("+34600000000"))
    gender = ma.fields.String(required=True, allow_none=True)
    age = ma.fields.Integer(required=True, allow_none=True)
    roles = ma.fields.List(ma.fields.String(), required=True, metadata=example([]))
    is_active = ma.fields.Boolean(required=True)
    email_verified = ma.fields.Boolean(required=True)
    two_step = ma.fields.Boolean(required=True)
    created_at = ma.fields.DateTime(required=True, metadata=example("2026-01-02T03:04:05.678901Z"))
    updated_at = ma.fields.DateTime(required=True, metadata=example("2026-01-02T03:04:05.678901Z"))
    version = ma.fields.Integer(required=True, metadata=example(1))


class PublicUserSchema(ma.Schema):
    """A user, as other users see it."""

    id = ma.fields.UUID(required=True, metadata=example("0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"))
    name = ma.fields.String(required=True, metadata=example("Ada Lovelace"))
    created_at = ma.fields.DateTime(required=True, metadata=example("2026-01-02T03:04:05.678901Z"))


class UserPage(ma.Schema):
    """A page of users."""

    items = ma.fields.List(ma.fields.Nested(UserSchema), required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)


class UserFilter(PageArguments):
    """Filters of the list of users."""

    email = Text(metadata={"description": "Exactly this address."})
    username = Text(metadata={"description": "Exactly this username, ignoring case."})
    is_active = ma.fields.Boolean()
    q = Text(metadata={"description": "The beginning of a name, e-mail address or username."})
