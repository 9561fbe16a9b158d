"""The settings of the auth context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from backend.settings import Environment, listed
from backend.settings_checks import any_weak

SYMMETRIC_ALGORITHMS = ("HS256", "HS384", "HS512")
ASYMMETRIC_ALGORITHMS = ("EdDSA", "ES256", "RS256")
LONGEST_MINUTES = 60
"""The most minutes of an access token in production: other services accept it until it expires, even if revoked."""
_ALGORITHMS = SYMMETRIC_ALGORITHMS + ASYMMETRIC_ALGORITHMS


@dataclass(frozen=True, repr=False)
class AuthSettings:
    """How access tokens are signed, and who may sign in."""

    jwt_algorithm: str
    jwt_secret: str
    """Several, newest first, separated by commas, during a rotation."""
    jwt_private_key: str
    """PEM; several blocks, newest first, during a rotation."""
    jwt_expire_minutes: int
    require_email_verification: bool
    """Whether an account with an unverified address cannot sign in."""
    require_admin_two_step: bool = False
    """Whether administrators administer only after two-step sign-in."""

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """Load them from the environment."""
        env, algorithm = environment.read, environment.read.str("JWT_ALGORITHM", "HS256")
        asymmetric = algorithm in ASYMMETRIC_ALGORITHMS
        # A variable without line breaks has \\n instead.
        private_key = environment.private("JWT_PRIVATE_KEY").replace("\\n", "\n")
        if asymmetric and not private_key:
            private_key = environment.secret("JWT_PRIVATE_KEY", f"jwt-{algorithm}.pem")
        return cls(
            jwt_algorithm=algorithm,
            jwt_secret=environment.secret("JWT_SECRET", "jwt-secret"),
            jwt_private_key=private_key,
            jwt_expire_minutes=env.int("JWT_EXPIRE_MINUTES", 15),
            require_email_verification=env.bool("REQUIRE_EMAIL_VERIFICATION", False),
            require_admin_two_step=env.bool("REQUIRE_ADMIN_TWO_STEP", False),
        )

    def problems(self, *, production: bool) -> Iterator[str]:
        """Every reason not to start with them."""
        symmetric = self.jwt_algorithm in SYMMETRIC_ALGORITHMS
        if self.jwt_algorithm not in _ALGORITHMS:
            yield "JWT_ALGORITHM is not one of " + ", ".join(_ALGORITHMS)
        if self.jwt_expire_minutes < 1:
            yield "JWT_EXPIRE_MINUTES must be positive"
        if production and self.jwt_expire_minutes > LONGEST_MINUTES:
            yield f"JWT_EXPIRE_MINUTES must be at most {LONGEST_MINUTES}"
        if production and symmetric and any_weak(listed(self.jwt_secret)):
            yield "JWT_SECRET is missing, shorter than 32 characters, or a known default"
        if production and not symmetric and not self.jwt_private_key:
            yield "JWT_PRIVATE_KEY is missing"
