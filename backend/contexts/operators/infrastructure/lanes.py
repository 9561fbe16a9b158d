"""Lanes: their pauses, and their state from PostgreSQL and the broker."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from backend.contexts.operators.domain.errors import CommandNotFound, LaneNotFound
from backend.contexts.operators.infrastructure.statistics import MINUTES, LaneMinute, lane_minutes
from backend.kernel.delivery import lanes, pauses, retries
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.envelope import Depth, QueueUnavailable
from backend.kernel.delivery.lanes import LATE_AFTER
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.origin import current_origin
from backend.kernel.observe import workers
from backend.kernel.postgres.database import ReadConnection, clock_ahead

_BROKER_SECONDS = 1.0
"""Seconds to wait for the broker: an answer without its numbers is better than none."""


@dataclass(frozen=True)
class PauseView:
    """A pause.

    Attributes:
        by: the administrator; None for an operator at the command line.
    """

    since: datetime
    by: UUID | None
    reason: str


@dataclass(frozen=True)
class WaitView:
    """Percentiles in seconds; None if no message was taken."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class BehindView:
    """A lane whose messages wait too long.

    Attributes:
        seconds: how long: the wait of the slowest twentieth of the last five minutes, or the time since work last
            began; None if it never did.
        since: when that began, within the last hour; None if it is not known.
    """

    seconds: float | None
    since: datetime | None


@dataclass(frozen=True)
class LaneView:
    """The current state of a lane.

    Attributes:
        ready: messages that no worker has taken; None if the broker does not answer.
        unacked: messages that workers have taken and not finished.
        delayed: messages that wait for their next try.
        consumers: workers that consume it; None if unknown.
        last_taken_at: when a worker last started one of its messages.
        wait_seconds: from acceptance until a worker took the message, over the last five minutes.
        behind: None while messages wait no longer than `LATE_AFTER`.
        tasks: the names of the messages that travel in it.
    """

    name: str
    ready: int | None
    unacked: int
    delayed: int
    consumers: int | None
    paused: PauseView | None
    last_taken_at: datetime | None
    wait_seconds: WaitView
    behind: BehindView | None = None
    tasks: Sequence[str] = ()


@dataclass(frozen=True)
class LaneHistory:
    """The last hour of a lane, by minute, the oldest first.

    Attributes:
        finished: messages whose outcome was stored in each minute.
        wait_p95: how long messages waited, in seconds; None for a minute without any.
        per_minute: messages finished per minute, over the last five.
    """

    name: str
    finished: list[int]
    wait_p95: list[float | None]
    per_minute: float


class SqlLanes:
    """`Lanes` within one unit of work."""

    def __init__(self, unit: UnitOfWork, known: Sequence[str], tasks: Collection[str]) -> None:
        self._unit = unit
        self._known = known
        self._tasks = tasks

    def pause(self, lane: str, reason: str) -> None:
        """Store the pause, which the workers read."""
        self._unit.reason = reason
        self._check(lane)
        lanes.pause(self._unit.connection, lane, current_origin.get().actor, reason)

    def resume(self, lane: str) -> None:
        """Delete the pause."""
        self._check(lane)
        lanes.resume(self._unit.connection, lane)

    def pause_command(self, name: str, reason: str) -> None:
        """Store the pause, which the workers read."""
        self._unit.reason = reason
        self._check_command(name)
        lanes.pause(self._unit.connection, pauses.key_of(name), current_origin.get().actor, reason)

    def resume_command(self, name: str) -> None:
        """Delete the pause."""
        self._check_command(name)
        lanes.resume(self._unit.connection, pauses.key_of(name))

    def _check(self, lane: str) -> None:
        self._unit.detail = lane
        if lane not in self._known:
            raise LaneNotFound

    def _check_command(self, name: str) -> None:
        self._unit.detail = name
        if name not in self._tasks:
            raise CommandNotFound


def lane_views(bus: Bus) -> list[LaneView]:
    """Every lane, by name."""
    names = bus.registry.every_lane()
    depths = _depths(bus, names)
    views = bus.database.read(lambda connection: _views(connection, bus, names, depths), fresh=True)
    slow = any(_is_slow(view) for view in views)  # only then is the last hour needed
    minutes = bus.database.read(lambda connection: lane_minutes(connection, _lane_of(bus)), fresh=True) if slow else []
    now, tasks = datetime.now(UTC), bus.registry.queued()
    return [
        replace(
            view,
            behind=view.behind or _slow_since(view, minutes, now),
            tasks=sorted(name for name, handler in tasks.items() if handler.lane == view.name),
        )
        for view in views
    ]


def lane_view(bus: Bus, name: str) -> LaneView:
    """One lane."""
    return next(view for view in lane_views(bus) if view.name == name)


def lane_histories(bus: Bus) -> list[LaneHistory]:
    """The last hour of every lane, by name."""
    minutes = bus.database.read(lambda connection: lane_minutes(connection, _lane_of(bus)), fresh=True)
    return [_history(name, minutes) for name in bus.registry.every_lane()]


def _history(name: str, minutes: Sequence[LaneMinute]) -> LaneHistory:
    of_lane = {one.ago: one for one in minutes if one.lane == name}
    known = [of_lane.get(ago) for ago in reversed(range(MINUTES))]
    finished = [one.finished if one else 0 for one in known]
    return LaneHistory(name, finished, [one.wait_p95 if one else None for one in known], sum(finished[-5:]) / 5)


def _is_slow(view: LaneView) -> bool:
    return (view.wait_seconds.p95 or 0) > LATE_AFTER.total_seconds()


def _slow_since(view: LaneView, minutes: Sequence[LaneMinute], now: datetime) -> BehindView | None:
    """What is taken has waited too long."""
    if not _is_slow(view):
        return None
    since = None
    for minute in sorted((one for one in minutes if one.lane == view.name), key=lambda one: one.ago):
        if minute.wait_p95 is not None and minute.wait_p95 <= LATE_AFTER.total_seconds():
            break
        since = now - timedelta(minutes=minute.ago + 1)
    return BehindView(view.wait_seconds.p95, since)


def _depths(bus: Bus, names: Sequence[str]) -> Mapping[str, Depth]:
    try:
        return bus.queue.depths(names, _BROKER_SECONDS)
    except QueueUnavailable:
        return {}


def _lane_of(bus: Bus) -> dict[str, str]:
    """The lane of each task, except those of several steps: their last step's wait would count from the acceptance."""
    queued = bus.registry.queued().items()
    return {task: handler.lane for task, handler in queued if task not in bus.reader.steps}


def _views(connection: ReadConnection, bus: Bus, names: Sequence[str], depths: Mapping[str, Depth]) -> list[LaneView]:
    now = datetime.now(UTC) - clock_ahead(connection)
    kept, waits = lanes.rows(connection), lanes.waits(connection, _lane_of(bus))
    alive, delayed = workers.alive(connection), retries.delayed(connection)
    held = sum((Counter(worker.held) for worker in alive), Counter[str]())
    unstarted = lanes.unstarted(alive, {task: handler.lane for task, handler in bus.registry.queued().items()})
    serving = Counter(lane for worker in alive for lane in worker.lanes)

    def view(name: str) -> LaneView:
        depth, row, wait = depths.get(name), kept.get(name, lanes.NOTHING_KEPT), waits.get(name)
        counted = 0 if row.paused_at else serving[name]
        still = lanes.stands_still(row, (depth.ready if depth else 0) + unstarted[name], now)
        return LaneView(
            name,
            ready=depth.ready if depth else None,
            unacked=held[name],
            delayed=delayed.get(name, 0),
            consumers=depth and (counted if depth.consumers is None else depth.consumers),
            paused=PauseView(row.paused_at, row.paused_by, row.pause_reason or "") if row.paused_at else None,
            last_taken_at=row.last_taken_at,
            wait_seconds=WaitView(wait.p50, wait.p95) if wait else WaitView(None, None),
            behind=BehindView(still if math.isfinite(still) else None, row.last_taken_at) if still else None,
        )

    return [view(name) for name in names]
