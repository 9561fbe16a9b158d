"""`celery -A tests.tasks.unsafe worker`: an application whose settings can lose a message."""

from __future__ import annotations

from tasks.app import app

app.conf.task_acks_late = False

__all__ = ["app"]
