"""The settings of accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from backend.settings import Environment

_FEWEST, _FEWEST_IN_PRODUCTION = 4, 10
"""What bcrypt knows, and what OWASP's Password Storage Cheat Sheet asks for."""
_MOST = 16
"""A hash takes seconds there, and each round more doubles it."""


@dataclass(frozen=True)
class UsersSettings:
    """How passwords are hashed, and when an account is of use."""

    bcrypt_rounds: int
    require_email_verification: bool
    """Whether an account is of use only once its address is proven."""

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """From the environment."""
        env = environment.read
        return cls(env.int("BCRYPT_ROUNDS", 12), env.bool("REQUIRE_EMAIL_VERIFICATION", False))

    def problems(self, *, production: bool) -> Iterator[str]:
        """Why the program must not start with them."""
        fewest = _FEWEST_IN_PRODUCTION if production else _FEWEST
        if not fewest <= self.bcrypt_rounds <= _MOST:
            yield f"BCRYPT_ROUNDS must be {fewest} to {_MOST}"
