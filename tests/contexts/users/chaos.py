"""The commands of users under fire."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg

from tests.chaos.subjects import counts
from tests.chaos.world import World


class Registrations:
    """POST /users: hashed, persisted, told by an event."""

    def prepare(self, world: World) -> None:
        """A new address each."""
        self._run = uuid4().hex

    def request(self, number: int) -> tuple[str, dict[str, Any], dict[str, str]]:
        """Somebody new."""
        email = f"{self._run}-{number}@example.com"
        return "/api/v1/users", {"name": "Ada", "email": email, "password": "correct horse battery"}, {}

    def effects(self, database: psycopg.Connection[Any]) -> list[int]:
        """Users by address."""
        return counts(
            database, "select count(*) from users where email like %s group by email", f"{self._run}-%@example.com"
        )


SUBJECTS = {"users": Registrations}
