"""The settings of accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from backend.settings import Environment


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
        if not 4 <= self.bcrypt_rounds <= 31:  # noqa: PLR2004 - what bcrypt knows
            yield "BCRYPT_ROUNDS must be 4 to 31"
