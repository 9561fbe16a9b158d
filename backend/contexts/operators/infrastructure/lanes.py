"""Lanes: their pauses, and their state from PostgreSQL and the broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from backend.contexts.operators.domain.errors import LaneNotFound
from backend.kernel.delivery import lanes
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.envelope import Depth, QueueUnavailable
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.origin import current_origin
from backend.kernel.observe import workers
from backend.kernel.postgres.database import ReadConnection

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
class LaneView:
    """The current state of a lane.

    Attributes:
        ready: messages that no worker has taken; None if the broker does not answer.
        unacked: messages that workers have taken and not finished.
        consumers: workers that consume it; None if unknown.
        last_taken_at: when a worker last started one of its messages.
        wait_seconds: from acceptance until a worker took the message, over the last five minutes.
    """

    name: str
    ready: int | None
    unacked: int
    consumers: int | None
    paused: PauseView | None
    last_taken_at: datetime | None
    wait_seconds: WaitView


class SqlLanes:
    """`Lanes` within one unit of work."""

    def __init__(self, unit: UnitOfWork, known: Sequence[str]) -> None:
        self._unit = unit
        self._known = known

    def pause(self, lane: str, reason: str) -> None:
        """Store the pause, which the workers read."""
        self._check(lane)
        lanes.pause(self._unit.connection, lane, current_origin.get().actor, reason)

    def resume(self, lane: str) -> None:
        """Delete the pause."""
        self._check(lane)
        lanes.resume(self._unit.connection, lane)

    def _check(self, lane: str) -> None:
        self._unit.detail = lane
        if lane not in self._known:
            raise LaneNotFound


def lane_views(bus: Bus) -> list[LaneView]:
    """Every lane, by name."""
    names = bus.registry.every_lane()
    depths = _depths(bus, names)
    return bus.database.read(lambda connection: _views(connection, names, _lane_of(bus), depths), fresh=True)


def lane_view(bus: Bus, name: str) -> LaneView:
    """One lane."""
    return next(view for view in lane_views(bus) if view.name == name)


def _depths(bus: Bus, names: Sequence[str]) -> Mapping[str, Depth]:
    try:
        return bus.queue.depths(names, _BROKER_SECONDS)
    except QueueUnavailable:
        return {}


def _lane_of(bus: Bus) -> dict[str, str]:
    """The lane of each task, except those of several steps: their last step's wait would count from the acceptance."""
    queued = bus.registry.queued().items()
    return {task: handler.lane for task, handler in queued if task not in bus.reader.steps}


def _views(
    connection: ReadConnection, names: Sequence[str], lane_of: Mapping[str, str], depths: Mapping[str, Depth]
) -> list[LaneView]:
    kept, waits = lanes.rows(connection), lanes.waits(connection, lane_of)
    alive = workers.alive(connection)
    held = sum((Counter(worker.held) for worker in alive), Counter[str]())
    serving = Counter(lane for worker in alive for lane in worker.lanes)

    def view(name: str) -> LaneView:
        depth, row, wait = depths.get(name), kept.get(name, lanes.NOTHING_KEPT), waits.get(name)
        counted = 0 if row.paused_at else serving[name]
        return LaneView(
            name,
            ready=depth.ready if depth else None,
            unacked=held[name],
            consumers=depth and (counted if depth.consumers is None else depth.consumers),
            paused=PauseView(row.paused_at, row.paused_by, row.pause_reason or "") if row.paused_at else None,
            last_taken_at=row.last_taken_at,
            wait_seconds=WaitView(wait.p50, wait.p95) if wait else WaitView(None, None),
        )

    return [view(name) for name in names]
