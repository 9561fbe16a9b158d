"""Keys: what seals secrets, signs what leaves and comes back, and derives stable names."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from itsdangerous import BadData, Signer, base64_decode, base64_encode

SEALED_PREFIX = "sealed:"
"""Marks a sealed field, so that representations can mask it without knowing the message."""
MASK = "•••"


def masked(value: Any) -> Any:
    """The value with every sealed field masked: it is unreadable, but need not be shown either."""
    if isinstance(value, str):
        return MASK if value.startswith(SEALED_PREFIX) else value
    if value is None:  # as most fields of most messages
        return value
    if isinstance(value, Mapping):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(inner) for inner in value]
    return value


class Unsealable(Exception):
    """No key we hold opens it."""


class BadSignature(Exception):
    """It was not signed by us for this purpose."""


class Keyring:
    """The secret keys, newest first.

    The newest seals and signs, every one opens and verifies. `digest` uses the oldest: what it
    names must stay the same while a new key is rolled in.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in secret_keys]
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(_derive(key, "sealing"))) for key in self._keys])
        self._signer = cache(self._make_signer)

    def seal(self, text: str) -> str:
        """Encrypt and authenticate (Fernet: AES-128-CBC with HMAC-SHA-256)."""
        return SEALED_PREFIX + self._fernet.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """Open what `seal` made.

        Raises:
            Unsealable: it was tampered with, or its key is gone.
        """
        if not sealed.startswith(SEALED_PREFIX):
            raise Unsealable
        try:
            return self._fernet.decrypt(sealed.removeprefix(SEALED_PREFIX)).decode()
        except InvalidToken:
            raise Unsealable from None

    def sign(self, purpose: str, value: Any) -> str:
        """JSON `value` as a URL-safe text that only `verify` with the same purpose accepts."""
        return self._signer(purpose).sign(base64_encode(msgspec.json.encode(value))).decode()

    def verify(self, purpose: str, text: str) -> Any:
        """The value that `sign` was given.

        Raises:
            BadSignature: forged, truncated, or signed for another purpose.
        """
        try:
            return msgspec.json.decode(base64_decode(self._signer(purpose).unsign(text)))
        except BadData:
            raise BadSignature from None

    def digest(self, purpose: str, data: bytes) -> bytes:
        """32 bytes that name `data`, the same on every process, useless without the key."""
        return hmac.digest(_derive(self._keys[-1], purpose), data, "sha256")

    def derived(self, purpose: str) -> list[bytes]:
        """One 32-byte key per secret key, newest first, for that purpose alone."""
        return [_derive(key, purpose) for key in self._keys]

    def _make_signer(self, purpose: str) -> Signer:
        keys = [_derive(key, f"signing {purpose}") for key in reversed(self._keys)]  # itsdangerous signs with the last
        return Signer(keys, key_derivation="none", digest_method=hashlib.sha256)


@cache
def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, purpose.encode(), "sha256")
