"""bcrypt over a keyed SHA-256 of the password.

bcrypt reads 72 bytes and stops; the 44 characters of the digest always fit, so every character
of the password counts. The key (a pepper) is not in the database: stolen hashes alone cannot be
guessed against. A hash names its key, `<key id>$2b$…`, so that keys can be rotated.
"""

from __future__ import annotations

import base64
import hmac
import os
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from backend.contexts.users.domain import rules
from backend.contexts.users.infrastructure.settings import UsersSettings
from backend.kernel.keys import Keyring, key_id
from backend.kernel.messages.secret import Secret
from backend.kernel.resources import Resources

_LOW_PRIORITY = 15
"""Niceness of the threads that hash passwords: 36 shares of a core where a read has 1024 (sched(7))."""
_PEPPER = "password pepper"


class BcryptHasher:
    """`PasswordHasher`: hashes with the newest key, verifies with every key.

    Both run in threads of low priority: hashing uses what other work leaves of the cores.

    Args:
        rounds: the cost; each step doubles the time.
    """

    def __init__(self, keyring: Keyring, rounds: int) -> None:
        self._keys = {key_id(key): key for key in keyring.derived(_PEPPER)}
        self._newest = newest_key(keyring)
        self.rounds = rounds
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "password", _lower_priority)

    def hash(self, password: Secret) -> str:
        """The hash of a password, with the id of its key."""
        digest = self._digest(self._newest, unicodedata.normalize(rules.PASSWORD_FORM, password.value))
        hashed: bytes = self._threads.submit(bcrypt.hashpw, digest, bcrypt.gensalt(self.rounds)).result()
        return self._newest + hashed.decode()

    def verify(self, password: Secret, password_hash: str) -> bool:
        """Whether the password matches the hash. False, as slowly, if the key is gone."""
        return self.spelling_of(password, password_hash, 0) is not None

    def spelling_of(self, password: Secret, password_hash: str | None, rounds: int) -> str | None:
        """The spelling of the password that matches the hash; None if none does, or there is no hash.

        The password is also tried as it was typed, because release 0.1 hashed it like that.

        Args:
            rounds: take at least as long for each spelling as a hash of this cost. The number of spellings depends on
                the password only, so the time does not reveal whose hash it is, or that there is none.
        """
        spellings = dict.fromkeys((rules.password_spelling(password.value), password.value))
        checked = password_hash or f"nobody{_never(rounds)}"
        right = (one for one in spellings if self._threads.submit(self._matches, one, checked, rounds).result())
        return next(right, None)

    def is_current(self, password_hash: str, spelling: str) -> bool:
        """Whether `hash` would still make such a hash of this spelling."""
        made_now = password_hash.startswith(f"{self._newest}$2b${self.rounds:02}$")
        return made_now and spelling == rules.password_spelling(spelling)

    def _matches(self, text: str, password_hash: str, rounds: int) -> bool:
        key, dollar, rest = password_hash.partition("$")
        right = bcrypt.checkpw(self._digest(key, text), (dollar + rest).encode()) and key in self._keys
        for cheaper in range(_rounds_of(password_hash), rounds):  # 2^a + 2^a + 2^(a+1) + … + 2^(b-1) = 2^b
            bcrypt.checkpw(b"", _never(cheaper).encode())
        return right

    def _digest(self, key: str, text: str) -> bytes:
        data = text.encode("utf-8", "surrogatepass")
        return base64.b64encode(hmac.digest(self._keys.get(key, b""), data, "sha256"))


def newest_key(keyring: Keyring) -> str:
    """The id of the key that `hash` uses."""
    return key_id(keyring.derived(_PEPPER)[0])


def _rounds_of(password_hash: str) -> int:
    """The cost of a hash: 12 for `0a1b2c3d$2b$12$…`."""
    return int(password_hash.split("$")[2])


def _never(rounds: int) -> str:
    """A hash that no password matches, as slow as any other of this cost."""
    return f"$2b${rounds:02}${'.' * 53}"


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere niceness applies to the whole process
        os.nice(_LOW_PRIORITY)


def hasher_of(resources: Resources) -> BcryptHasher:
    """The hasher of this process."""
    return BcryptHasher(resources.keyring, resources.settings.of(UsersSettings).bcrypt_rounds)
