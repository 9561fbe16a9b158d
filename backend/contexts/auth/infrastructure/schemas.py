"""Request and response bodies of the auth context."""

from __future__ import annotations

from typing import Any, ClassVar
from unicodedata import category

import marshmallow as ma

from backend.kernel.http.schemas import SecretText, Text, example

_ID = "0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"
_TIME = "2026-01-02T03:04:05.678901Z"
_EXPIRES_IN = example(900, "Seconds until the access token expires.")
_TWO_STEP_MISSING = example(
    value=True, text="Only for an administrator without two-step sign-in: turn it on at /auth/two-step."
)
_NO_CODE = {"enum": [False], "description": "Never sent: it tells generated clients that only a challenge has it."}


def _without_spaces(code: str) -> str:
    """A code, with or without spaces: mails and phones show `481 048`, and invisible characters are copied with it."""
    return "".join(one for one in code if not one.isspace() and category(one) != "Cf")


class Credentials(ma.Schema):
    """An e-mail address or a username, and the password."""

    EXAMPLE: ClassVar = {"email": "ada@example.com", "password": "correct horse battery"}

    email = Text(allow_none=True, metadata=example("ada@example.com", "Or `username`."))
    username = Text(allow_none=True, metadata=example("ada", "Or `email`."))
    password = SecretText(required=True, metadata=example("correct horse battery"))

    @ma.validates_schema(skip_on_field_errors=True)
    def _one_name(self, data: dict[str, Any], **_: Any) -> None:
        if (data.get("email") is None) == (data.get("username") is None):
            raise ma.ValidationError("Give either `email` or `username`.", "email")

    @ma.post_load
    def _fields(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The command's fields."""
        login = data["email"] if data.get("email") is not None else data["username"]
        return {"login": login.strip(), "password": data["password"]}


class Password(ma.Schema):
    """The current password."""

    password = SecretText(required=True, metadata=example("correct horse battery"))


class ChallengeAnswer(ma.Schema):
    """The mailed code and its challenge."""

    challenge = SecretText(required=True, metadata=example("IkFaQ…"))
    code = SecretText(_without_spaces, required=True, metadata=example("042137", "Six digits; spaces are ignored."))


class ChallengeName(ma.Schema):
    """The challenge of a sign-in that waits for its code."""

    challenge = SecretText(required=True, metadata=example("IkFaQ…"))


class RefreshRequest(ma.Schema):
    """The refresh token to exchange."""

    refresh_token = SecretText(required=True, metadata=example("IkFaQ…"))


class TokenToCheck(ma.Schema):
    """The access token to validate."""

    access_token = SecretText(required=True, metadata=example("eyJhbGciOi…"))


class TokenPairSchema(ma.Schema):
    """The tokens of a signed-in client."""

    access_token = ma.fields.String(required=True, metadata=example("eyJhbGciOi…", "A JWT (RFC 9068)."))
    token_type = ma.fields.String(required=True, validate=ma.validate.OneOf(["Bearer"]))
    expires_in = ma.fields.Integer(required=True, metadata=_EXPIRES_IN)
    refresh_token = ma.fields.String(required=True, metadata=example("IkFaQ…", "Works for one exchange."))
    two_step_missing = ma.fields.Boolean(metadata=_TWO_STEP_MISSING)
    two_step = ma.fields.Boolean(metadata=_NO_CODE)


class CodeSentSchema(ma.Schema):
    """The password was correct, and a code was mailed."""

    two_step = ma.fields.Boolean(required=True, metadata=example(value=True, enum=[True]))
    challenge = ma.fields.String(required=True, metadata=example("IkFaQ…"))
    expires_in = ma.fields.Integer(required=True, metadata=example(300, "Seconds."))


class CookieSessionSchema(ma.Schema):
    """Signed in, with the tokens in cookies: the request had `X-Session: cookie`, or a cookie of ours."""

    class Meta:
        """Tokens in the answer tell the two kinds apart."""

        unknown = ma.RAISE  # in the document: no other fields

    expires_in = ma.fields.Integer(required=True, metadata=_EXPIRES_IN)
    two_step_missing = ma.fields.Boolean(metadata=_TWO_STEP_MISSING)
    two_step = ma.fields.Boolean(metadata=_NO_CODE)


SIGNED_IN = {"oneOf": [TokenPairSchema, CookieSessionSchema]}
SIGNED_IN_OR_CODE_SENT = {"oneOf": [TokenPairSchema, CookieSessionSchema, CodeSentSchema]}
COOKIES: dict[str, Any] = {"Set-Cookie": {}}
IN_COOKIES: dict[str, Any] = {
    "in": "header",
    "name": "X-Session",
    "schema": {"type": "string", "enum": ["cookie"]},
    "description": "Puts the tokens into cookies that no script can read, and not into the answer.",
}


class SessionSchema(ma.Schema):
    """A session: one device that is signed in."""

    id = ma.fields.UUID(required=True, metadata=example(_ID))
    created_at = ma.fields.DateTime(required=True, metadata=example(_TIME))
    last_used_at = ma.fields.DateTime(required=True, metadata=example(_TIME, "When its tokens were last refreshed."))
    ip = ma.fields.String(required=True, metadata=example("203.0.113.7"))
    user_agent = ma.fields.String(required=True, metadata=example("curl/8.5.0"))
    current = ma.fields.Boolean(required=True, metadata=example(value=True))


class SessionList(ma.Schema):
    """The active sessions, the most recently used first."""

    items = ma.fields.List(ma.fields.Nested(SessionSchema), required=True)


class TokenValidity(ma.Schema):
    """Whether a token is valid."""

    is_valid = ma.fields.Boolean(required=True)
    user_id = ma.fields.UUID(metadata=example(_ID, "Only for a valid token."))
    exp = ma.fields.Integer(metadata=example(1767323045, "Seconds since 1970. Only for a valid token."))


class CodeOnItsWay(ma.Schema):
    """Another code was mailed."""

    detail = ma.fields.String(required=True)
