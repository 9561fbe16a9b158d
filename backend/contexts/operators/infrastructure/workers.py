"""The workers, as operators see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from backend.kernel.delivery.dispatch import Bus
from backend.kernel.observe import workers


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


def worker_views(bus: Bus) -> list[WorkerView]:
    """The workers that reported recently, by name."""
    kind_of = {lane: handler.kind.value for lane, handler in bus.registry.lanes().items()}
    return [_view(row, kind_of) for row in bus.database.read(workers.known, fresh=True)]


def _view(row: workers.WorkerRow, kind_of: Mapping[str, str]) -> WorkerView:
    kinds = sorted({kind_of.get(lane, lane) for lane in row.lanes})
    return WorkerView(row.name, kinds, row.busy, row.processes, row.memory_bytes, row.started_at, row.seen_at)
