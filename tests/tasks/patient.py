"""`celery -A tests.tasks.patient worker`: the sample's worker, which waits an hour for a silent node."""

from __future__ import annotations

from tests.tasks.sample import app

app.conf.broker_connection_timeout = 3600
app.conf.broker_transport_options |= {"read_timeout": 3600}
app.conf.broker_heartbeat = 2

__all__ = ["app"]
