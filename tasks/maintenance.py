"""Housekeeping, on beat's schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import structlog
from celery import Task
from uuid_utils.compat import uuid7

from backend.kernel.observe.logging import bind_request, end_request
from backend.kernel.postgres.faults import DatabaseAway

SUCCEEDED = "succeeded"
UNSEEN: dict[str, Any] = {"shared": False, "send_events": False}
"""Of tasks of housekeeping: one that runs every two seconds would fill Flower's list."""

log = structlog.get_logger(__name__)


def register(app: Any) -> None:
    """Create the tasks."""
    app.task(bind=True, name="maintenance.sweep_outbox", **UNSEEN)(sweep_outbox)
    app.task(bind=True, name="maintenance.purge", **UNSEEN)(purge)


def housekeeping(work: Callable[[Task], str]) -> Callable[[Task], None]:
    """Run `work` with log lines of its own, and record its result."""

    @wraps(work)
    def run(task: Task) -> None:
        bind_request(f"maintenance-{uuid7().hex}", task=task.name)
        started_at = datetime.now(UTC)
        try:
            result = work(task)
            task.app.process().note_run(task.name, _rule(task), started_at, result)
        except DatabaseAway:
            log.warning("nothing done: the database is away")
        finally:
            end_request()

    return run


@housekeeping
def sweep_outbox(task: Task) -> str:
    """Publish what a crash or an absent broker left in the outbox."""
    swept = task.app.process().sweep()
    if swept:
        log.info("outbox swept", messages=swept)
    return SUCCEEDED


@housekeeping
def purge(task: Task) -> str:
    """Delete what is past its retention."""
    log.info("purged", rows=task.app.process().purge())
    return SUCCEEDED


def _rule(task: Task) -> str:
    entries = task.app.conf.beat_schedule.values()
    return next((f"every {entry['schedule']:g} s" for entry in entries if entry["task"] == task.name), "")
