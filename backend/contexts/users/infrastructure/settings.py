"""The settings of the users context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from backend.settings import Environment

_FEWEST, _FEWEST_IN_PRODUCTION = 4, 10
"""The minimum of bcrypt, and that of OWASP's Password Storage Cheat Sheet."""
_MOST = 16
"""A hash takes seconds there, and each further round doubles that."""


@dataclass(frozen=True)
class UsersSettings:
    """How passwords are hashed, and whether addresses must be verified."""

    bcrypt_rounds: int
    require_email_verification: bool
    """Whether an account works only after its address is verified."""

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """Load them from the environment."""
        env = environment.read
        return cls(env.int("BCRYPT_ROUNDS", 12), env.bool("REQUIRE_EMAIL_VERIFICATION", False))

    def problems(self, *, production: bool) -> Iterator[str]:
        """Every reason not to start with them."""
        fewest = _FEWEST_IN_PRODUCTION if production else _FEWEST
        if not fewest <= self.bcrypt_rounds <= _MOST:
            yield f"BCRYPT_ROUNDS must be {fewest} to {_MOST}"
