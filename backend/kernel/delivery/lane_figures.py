"""The figures of the lanes for Prometheus."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime

import psycopg

from backend.kernel.delivery import lanes, pauses, retries
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.envelope import Depth, QueueUnavailable
from backend.kernel.observe import workers
from backend.kernel.observe.metrics import LaneFigures, Lanes
from backend.kernel.postgres.database import ReadConnection, clock_ahead
from backend.kernel.postgres.faults import DatabaseAway

_BROKER_SECONDS = 1.0


def lane_figures(bus: Bus) -> Lanes:
    """Every lane, from the broker and from PostgreSQL."""
    names = bus.registry.every_lane()
    depths: dict[str, Depth] = {}
    with suppress(QueueUnavailable):
        depths.update(bus.queue.depths(names, _BROKER_SECONDS))

    def read(connection: ReadConnection) -> Lanes:
        ahead = clock_ahead(connection)
        now = datetime.now(UTC) - ahead
        kept, alive = lanes.rows(connection), workers.alive(connection)
        delayed = retries.delayed(connection)
        held = sum((Counter(worker.held) for worker in alive), Counter[str]())
        unstarted = lanes.unstarted(alive, {task: one.lane for task, one in bus.registry.queued().items()})
        figures = []
        for name in names:
            row, depth = kept.get(name, lanes.NOTHING_KEPT), depths.get(name)
            waiting = (depth.ready if depth else 0) + unstarted[name]
            age = (now - row.last_taken_at).total_seconds() if row.last_taken_at else None
            figures.append(
                LaneFigures(
                    name,
                    depth.ready if depth else None,
                    held[name],
                    depth.consumers if depth else None,
                    row.paused_at is not None,
                    age,
                    delayed.get(name, 0),
                    0 if row.paused_at else lanes.stands_still(row, waiting, now),
                )
            )
        clocks = {worker.name: worker.ahead for worker in alive} | {"api": ahead}
        errors = {process: abs(by.total_seconds()) for process, by in clocks.items() if by is not None}
        return Lanes(figures, [paused.name for paused in pauses.paused_tasks(connection)], bool(depths), errors)

    try:
        return bus.database.read(read, timeout=1, fresh=True)
    except (DatabaseAway, psycopg.Error):  # or it is not migrated
        return Lanes([], [], bool(depths), {})
