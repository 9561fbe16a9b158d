"""The workers and the schedule, as operators see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from backend.kernel.delivery import schedule
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.observe import workers


@dataclass(frozen=True)
class WorkerView:
    """A worker.

    Attributes:
        kinds: of work.
        busy: `task` and `since` of each message that is being processed.
        clock_ahead_seconds: of PostgreSQL's; negative while it is behind, None if unknown.
    """

    name: str
    kinds: list[str]
    busy: list[dict[str, str]]
    processes: int
    memory_bytes: int | None
    started_at: datetime
    seen_at: datetime
    clock_ahead_seconds: float | None


@dataclass(frozen=True)
class RunView:
    """A run; `finished_at` is None while it runs."""

    started_at: datetime
    finished_at: datetime | None
    result: str | None


@dataclass(frozen=True)
class ScheduledView:
    """A scheduled command or task.

    Attributes:
        rule: when it runs.
        next_run_at: None for housekeeping, which beat schedules.
        missed: runs that were skipped.
    """

    name: str
    rule: str
    next_run_at: datetime | None
    last_run: RunView | None
    missed: int


def worker_views(bus: Bus) -> list[WorkerView]:
    """The workers that reported recently, by name."""
    kind_of = {lane: handler.kind.value for lane, handler in bus.registry.lanes().items()}
    return [_view(row, kind_of) for row in bus.database.read(workers.known, fresh=True)]


def _view(row: workers.WorkerRow, kind_of: Mapping[str, str]) -> WorkerView:
    kinds = sorted({kind_of.get(lane, lane) for lane in row.lanes})
    ahead = round(row.ahead.total_seconds(), 1) if row.ahead is not None else None
    return WorkerView(row.name, kinds, row.busy, row.processes, row.memory_bytes, row.started_at, row.seen_at, ahead)


def schedule_views(bus: Bus) -> list[ScheduledView]:
    """The commands that contexts schedule, and the housekeeping that has run, by name."""
    kept = bus.database.read(schedule.rows, fresh=True)
    declared = {name: handler.schedule for name, handler in bus.registry.queued().items() if handler.schedule}
    for name, rule in declared.items():
        kept.setdefault(name, schedule.ScheduleRow(name, str(rule), None, None, None, None, None, 0))
    return [_scheduled(kept[name]) for name in sorted(kept) if name in declared or kept[name].due_at is None]


def _scheduled(row: schedule.ScheduleRow) -> ScheduledView:
    last_run = RunView(row.started_at, row.finished_at, row.result) if row.started_at else None
    return ScheduledView(row.name, row.rule, row.due_at, last_run, row.missed)
