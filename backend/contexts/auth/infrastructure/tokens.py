"""Access tokens (JWT, RFC 9068), refresh tokens, challenges and codes."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any
from uuid import UUID

import msgspec
from itsdangerous import base64_decode, base64_encode
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from uuid_utils.compat import uuid7

from backend.contexts.auth.application.commands import TokenPair
from backend.contexts.auth.domain.challenge import Challenge
from backend.contexts.auth.domain.errors import InvalidCode, InvalidRefreshToken
from backend.contexts.auth.domain.session import RefreshToken, Session
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.kernel.http.api import PREFIX
from backend.kernel.http.caller import InvalidToken
from backend.kernel.keys import BadSignature, Keyring
from backend.kernel.messages.secret import Secret

_TYPE = "at+jwt"
_MOST_REMEMBERED = 10_000
_REFRESH = "refresh token"
_SUCCESSOR = "refresh token successor"
_CHALLENGE = "sign-in challenge"
_CODE = "sign-in code"


@dataclass(frozen=True)
class Claims:
    """The claims of an access token.

    Attributes:
        auth_time: of the last authentication; 0 in a token of release 0.1.
        amr: its methods (RFC 8176).
        gen: the session's generation when it was issued.
    """

    iss: str
    aud: str
    sub: UUID
    sid: UUID
    jti: UUID
    iat: int
    exp: int
    roles: tuple[str, ...]
    gen: int
    auth_time: int = 0
    amr: tuple[str, ...] = ()


class AccessTokens:
    """Signs and reads access tokens."""

    def __init__(self, issuer: str, minutes: int, keys: SigningKeys) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = issuer + PREFIX
        self.lifetime = minutes * 60
        """Seconds, unless the session ends before."""
        # A signature does not change: a token in use is verified once, then looked up.
        self._verified = lru_cache(_MOST_REMEMBERED)(self._verify)

    def expires_in(self, session: Session) -> int:
        """Seconds that an access token of the session lasts: it does not outlive the session."""
        return min(self.lifetime, int((session.ends_at - datetime.now(UTC)).total_seconds()))

    def issue(self, session: Session, roles: tuple[str, ...]) -> str:
        """An access token of the session."""
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(session.user_id),
            "sid": str(session.id),
            "jti": str(uuid7()),
            "iat": now,
            "exp": now + self.expires_in(session),
            "auth_time": int(session.authenticated_at.timestamp()),
            "amr": session.methods,
            "roles": list(roles),
            "gen": session.generation,
        }
        key = self._keys.newest
        header = {"alg": self._keys.algorithm, "typ": _TYPE, "kid": key.kid}
        return jwt.encode(header, claims, key, registry=self._keys.registry)

    def read(self, text: str) -> Claims:
        """The claims of a token that we issued and that has not expired.

        Nothing in the token selects how it is verified: not `alg`, not `jwk` or `jku` (RFC 8725, 3.1).

        Raises:
            InvalidToken: it is anything else.
        """
        claims = self._verified(text)
        # Not only `exp`: revocation looks back only as far as the current setting of the lifetime.
        if time() >= min(claims.exp, claims.iat + self.lifetime):
            raise InvalidToken
        return claims

    def _verify(self, text: str) -> Claims:
        """Check everything except the times."""
        try:
            token = jwt.decode(text, self._key_of, registry=self._keys.registry)
            claims = msgspec.convert(token.claims, Claims)
        except (JoseError, msgspec.ValidationError, ValueError, TypeError):
            raise InvalidToken from None
        if token.header.get("typ") != _TYPE or claims.iss != self._issuer or claims.aud != self._audience:
            raise InvalidToken
        return claims

    def _key_of(self, token: Any) -> Key:
        key = self._keys.get(token.headers().get("kid"))
        if key is None:
            raise InvalidToken
        return key


class SignedTokens:
    """`Tokens`, signed, with a purpose of its own for each kind."""

    def __init__(self, access: AccessTokens, keyring: Keyring) -> None:
        self._access = access
        self._keyring = keyring

    def first_refresh_token(self) -> RefreshToken:
        """A random one, with the id of a new session."""
        return RefreshToken(uuid7(), secrets.token_bytes(32))

    def successor(self, session_id: UUID, fingerprint: str) -> RefreshToken:
        """Derived, so that it can be returned again without being stored."""
        return RefreshToken(session_id, self._keyring.digest(_SUCCESSOR, fingerprint.encode()))

    def pair(self, session: Session, roles: tuple[str, ...], token: RefreshToken) -> TokenPair:
        """A new access token and the signed refresh token."""
        text = self._keyring.sign(_REFRESH, base64_encode(token.session_id.bytes + token.secret).decode())
        return TokenPair(self._access.issue(session, roles), "Bearer", self._access.expires_in(session), text)

    def read_refresh_token(self, text: str) -> RefreshToken:
        """The signature tells a used token from an invented one, which must not end a session."""
        raw = base64_decode(self._verified(_REFRESH, text, InvalidRefreshToken))
        return RefreshToken(UUID(bytes=raw[:16]), raw[16:])

    def challenge(self, challenge: Challenge) -> str:
        """The signed ids of the challenge and of its user."""
        return self._keyring.sign(_CHALLENGE, base64_encode(challenge.id.bytes + challenge.user_id.bytes).decode())

    def read_challenge(self, text: str) -> tuple[UUID, UUID]:
        """The ids that `challenge` signed."""
        raw = base64_decode(self._verified(_CHALLENGE, text, InvalidCode))
        return UUID(bytes=raw[:16]), UUID(bytes=raw[16:])

    def new_code(self) -> Secret:
        """Six digits; leading zeros count."""
        return Secret(f"{secrets.randbelow(10**6):06}")

    def code_digest(self, challenge_id: UUID, code: Secret) -> bytes:
        """With a key: a plain hash of a million possible codes is soon guessed."""
        plain = hashlib.sha256(code.value.encode("utf-8", "surrogatepass")).digest()
        return self._keyring.digest(_CODE, challenge_id.bytes + plain)

    def _verified(self, purpose: str, text: str, refusal: type[Exception]) -> str:
        try:
            return str(self._keyring.verify(purpose, text))
        except (BadSignature, ValueError):
            raise refusal from None
