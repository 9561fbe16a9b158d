"""The secret keys: they sign tokens, derive stable ids, and derive the keys of other purposes.

A secret key is introduced in two steps, so that processes can be restarted one by one. As `coming:<key>` it verifies
and opens. Once every process has it, it is put first in the list without the prefix, and signs and seals.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from itsdangerous import BadData, Signer, base64_decode, base64_encode

from backend.settings_checks import COMING


class BadSignature(Exception):
    """The text was not signed by us for this purpose."""


class Keyring:
    """The secret keys, newest first. A key marked `coming:` never signs.

    Every key verifies. `digest` uses the oldest: the ids that it derives must not change while a key is added.

    Raises:
        ValueError: no key may sign.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        current = [key.encode() for key in secret_keys if not key.startswith(COMING)]
        coming = [key.removeprefix(COMING).encode() for key in secret_keys if key.startswith(COMING)]
        if not current:
            raise ValueError("no secret key may sign")
        self._oldest = current[-1]
        self._keys = [*current, *coming]
        self._signer = cache(self._make_signer)

    def sign(self, purpose: str, value: Any) -> str:
        """The JSON `value` as a signed, URL-safe text that only `verify` with the same purpose accepts."""
        return self._signer(purpose).sign(base64_encode(msgspec.json.encode(value))).decode()

    def verify(self, purpose: str, text: str) -> Any:
        """The value that `sign` was given.

        Raises:
            BadSignature: forged, truncated, or signed for another purpose.
        """
        try:
            value = self._signer(purpose).unsign(text)
            signature = text.rpartition(".")[2]
            if base64_encode(base64_decode(signature)) != signature.encode():
                raise BadSignature  # base64 has several texts for the same bytes: accept only ours
            return msgspec.json.decode(base64_decode(value))
        except BadData:
            raise BadSignature from None

    def digest(self, purpose: str, data: bytes) -> bytes:
        """32 bytes derived from `data`: the same in every process, not predictable without the key."""
        return hmac.digest(_derive(self._oldest, purpose), data, "sha256")

    def derived(self, purpose: str) -> list[bytes]:
        """One 32-byte key per secret key, for this purpose only. The first one signs or seals."""
        return [_derive(key, purpose) for key in self._keys]

    def _make_signer(self, purpose: str) -> Signer:
        keys = [*reversed(self.derived(f"signing {purpose}"))]  # itsdangerous signs with the last
        return Signer(keys, key_derivation="none", digest_method=hashlib.sha256)


def key_id(key: bytes) -> str:
    """The id of a derived key, which reveals nothing about the key."""
    return hashlib.sha256(key).hexdigest()[:8]


@cache
def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, purpose.encode(), "sha256")
