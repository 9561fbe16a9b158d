"""The commands under fire. Those of a context lie with its tests: `SUBJECTS` in `tests/contexts/<name>/chaos.py`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import psycopg

from backend.settings import ROOT
from tests.chaos.world import World


class Subject(Protocol):
    """A command, many times over, and how to count what became of it."""

    def prepare(self, world: World) -> None:
        """Make what the commands need."""

    def request(self, number: int) -> tuple[str, dict[str, Any], dict[str, str]]:
        """Path, body and headers of the command of that number; it is repeated with the same Idempotency-Key."""

    def effects(self, database: psycopg.Connection[Any]) -> list[int]:
        """How often each command took effect, for those that did at all."""


def subjects() -> dict[str, type[Subject]]:
    """Those of every context, by name."""
    found: dict[str, type[Subject]] = {}
    for path in sorted((ROOT / "tests/contexts").glob("*/chaos.py")):
        found |= import_module(f"tests.contexts.{path.parent.name}.chaos").SUBJECTS
    return found


def counts(database: psycopg.Connection[Any], statement: str, parameter: str) -> list[int]:
    """The first column of what the statement finds."""
    return [row[0] for row in database.execute(statement.encode(), (parameter,))]
