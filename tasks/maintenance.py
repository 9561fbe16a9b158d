"""Housekeeping, on beat's schedule."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task

from backend.kernel.postgres.faults import DatabaseAway

log = structlog.get_logger(__name__)


def register(app: Any) -> None:
    """Create the tasks."""
    app.task(bind=True, name="maintenance.sweep_outbox", shared=False)(sweep_outbox)
    app.task(bind=True, name="maintenance.purge", shared=False)(purge)


def sweep_outbox(task: Task) -> None:
    """Publish what a crash or an absent broker left in the outbox."""
    try:
        swept = task.app.process().sweep()
    except DatabaseAway:
        log.warning("outbox not swept: the database is away")
    else:
        if swept:
            log.info("outbox swept", messages=swept)


def purge(task: Task) -> None:
    """Delete what is past its retention."""
    try:
        log.info("purged", rows=task.app.process().purge())
    except DatabaseAway:
        log.warning("nothing purged: the database is away")
