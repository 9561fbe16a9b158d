"""Housekeeping, on beat's schedule."""

from __future__ import annotations

import structlog

from backend.kernel.postgres.faults import DatabaseAway
from tasks.app import app, bus

log = structlog.get_logger(__name__)


@app.task(name="maintenance.sweep_outbox", shared=False)  # type: ignore[untyped-decorator]
def sweep_outbox() -> None:
    """Publish what a crash, or a broker that was away, left in the outbox."""
    try:
        swept = bus().relay_leftovers()
    except DatabaseAway:
        log.warning("outbox not swept: the database is away")
    else:
        if swept:
            log.info("outbox swept", messages=swept)


@app.task(name="maintenance.purge", shared=False)  # type: ignore[untyped-decorator]
def purge() -> None:
    """Delete what is past its retention."""
    try:
        log.info("purged", rows=bus().purge())
    except DatabaseAway:
        log.warning("nothing purged: the database is away")
