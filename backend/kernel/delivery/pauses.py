"""Pauses of one kind of message: `users.create_user`, while the rest of its lane goes on.

A pause is a row in the table `lanes`, as that of a lane is, under the name of the task. A worker that takes such a
message sets it aside in the table `timers`. The sweep sends it again once the pause has ended. No attempt is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from uuid import UUID

from backend.kernel.delivery import lanes
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.faults import DatabaseAway

_LOOK_EVERY = 2.0
PREFIX = "task:"
"""Of the names of tasks in the table `lanes`."""


class Paused(Exception):
    """An operator paused this kind of message."""


class Pauses:
    """The paused tasks, as this process read them at most some seconds ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._look_at = 0.0
        self._paused: frozenset[str] = frozenset()

    def check(self, task: str) -> None:
        """Check that the task is not paused. While PostgreSQL is away the pauses stay as they are.

        Raises:
            Paused: it is.
        """
        if monotonic() >= self._look_at:
            self._look_at = monotonic() + _LOOK_EVERY
            self._look()
        if key_of(task) in self._paused:
            raise Paused("paused by an operator")

    def _look(self) -> None:
        try:
            self._paused = self._database.read(lanes.paused, timeout=1, fresh=True)
        except DatabaseAway:
            return


@dataclass(frozen=True)
class PausedTask:
    """A pause of one kind of message."""

    name: str
    since: datetime
    by: UUID | None
    reason: str


def paused_tasks(connection: ReadConnection) -> list[PausedTask]:
    """The paused tasks, by name."""
    return [
        PausedTask(row.name.removeprefix(PREFIX), row.paused_at, row.paused_by, row.pause_reason or "")
        for _, row in sorted(lanes.rows(connection).items())
        if row.paused_at and row.name.startswith(PREFIX)
    ]


def key_of(task: str) -> str:
    """The name of a task in the table `lanes`."""
    return f"{PREFIX}{task}"
