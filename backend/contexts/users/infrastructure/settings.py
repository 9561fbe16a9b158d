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
    """How passwords are hashed, whether addresses must be verified, and how many may register."""

    bcrypt_rounds: int
    require_email_verification: bool
    """Whether an account works only after its address is verified."""
    registrations_per_address: int
    """The most registrations from one network per hour."""
    registrations: int
    """The most registrations per hour in total."""

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """Load them from the environment."""
        env = environment.read
        return cls(
            bcrypt_rounds=env.int("BCRYPT_ROUNDS", 12),
            require_email_verification=env.bool("REQUIRE_EMAIL_VERIFICATION", False),
            registrations_per_address=env.int("REGISTRATIONS_PER_ADDRESS", 10_000 if environment.developing else 20),
            registrations=env.int("REGISTRATIONS", 100_000 if environment.developing else 2_000),
        )

    def problems(self, *, production: bool) -> Iterator[str]:
        """Every reason not to start with them."""
        fewest = _FEWEST_IN_PRODUCTION if production else _FEWEST
        if not fewest <= self.bcrypt_rounds <= _MOST:
            yield f"BCRYPT_ROUNDS must be {fewest} to {_MOST}"
        if min(self.registrations_per_address, self.registrations) < 1:
            yield "REGISTRATIONS_PER_ADDRESS and REGISTRATIONS must be positive"
