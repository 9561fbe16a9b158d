"""The workers, as operators see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backend.kernel.observe import workers
from backend.kernel.postgres.database import Database


@dataclass(frozen=True)
class WorkerView:
    """A worker.

    Attributes:
        kinds: of work.
        busy: `task` and `since` of each message that is being processed.
    """

    name: str
    kinds: list[str]
    busy: list[dict[str, str]]
    processes: int
    memory_bytes: int | None
    started_at: datetime
    seen_at: datetime


def worker_views(database: Database) -> list[WorkerView]:
    """Those that were heard of lately, by name."""
    return [_view(row) for row in database.read(workers.known, fresh=True)]


def _view(row: workers.WorkerRow) -> WorkerView:
    kinds = sorted({lane.rpartition(".")[2] for lane in row.lanes})
    return WorkerView(row.name, kinds, row.busy, row.processes, row.memory_bytes, row.started_at, row.seen_at)
