"""`celery -A tests.tasks.unhurried worker`: the sample's worker, which expects a heartbeat once an hour."""

from __future__ import annotations

from tests.tasks.sample import app

app.conf.broker_heartbeat = 3600

__all__ = ["app"]
