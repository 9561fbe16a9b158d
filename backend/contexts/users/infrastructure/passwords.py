"""bcrypt over a keyed SHA-256 of the password.

bcrypt reads 72 bytes and stops; the 44 characters of the digest always fit, so every character
of the password counts. The key (a pepper) is not in the database: stolen hashes alone cannot be
guessed against. A hash names its key, `<key id>$2b$…`, so that keys can be rotated.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from backend.contexts.users.infrastructure.settings import UsersSettings
from backend.kernel.keys import Keyring
from backend.kernel.messages.secret import Secret
from backend.kernel.resources import Resources

_LOW_PRIORITY = 15
"""Niceness of the threads that check passwords: 36 shares of a core where a read has 1024 (sched(7))."""


class BcryptHasher:
    """`PasswordHasher`: hashes with the newest key, verifies with every key.

    Args:
        rounds: the cost; each step doubles the time.
    """

    def __init__(self, keyring: Keyring, rounds: int) -> None:
        self._keys = {hashlib.sha256(key).hexdigest()[:8]: key for key in keyring.derived("password pepper")}
        self._newest = next(iter(self._keys))
        self._rounds = rounds
        self._checks = ThreadPoolExecutor(os.cpu_count() or 1, "password-check", _lower_priority)

    @property
    def nobodys_hash(self) -> str:
        """A hash that no password matches, as slow as any other: the stand-in for an account that does not exist."""
        return f"nobody$2b${self._rounds:02}${'.' * 53}"

    def hash(self, password: Secret) -> str:
        """The hash of a password, with the id of its key."""
        hashed = bcrypt.hashpw(_digest(self._keys[self._newest], password), bcrypt.gensalt(self._rounds))
        return self._newest + hashed.decode()

    def verify(self, password: Secret, password_hash: str) -> bool:
        """Whether the password matches the hash. False, as slowly, if the key is gone.

        A thread of low priority checks it: sign-ins use the cores that nothing else needs.
        """
        key_id, dollar, rest = password_hash.partition("$")
        key = self._keys.get(key_id, b"")
        check = self._checks.submit(bcrypt.checkpw, _digest(key, password), (dollar + rest).encode())
        return check.result() and key != b""


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere niceness applies to the whole process
        os.nice(_LOW_PRIORITY)


def _digest(key: bytes, password: Secret) -> bytes:
    return base64.b64encode(hmac.digest(key, password.value.encode("utf-8", "surrogatepass"), "sha256"))


def hasher_of(resources: Resources) -> BcryptHasher:
    """The one of this process."""
    return BcryptHasher(resources.keyring, resources.settings.of(UsersSettings).bcrypt_rounds)
