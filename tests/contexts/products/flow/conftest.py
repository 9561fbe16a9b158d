"""The whole program on RabbitMQ and PostgreSQL, as in `tests/flow`."""

from tests.flow.conftest import api, api_process, settings, worker, worker_process

__all__ = ["api", "api_process", "settings", "worker", "worker_process"]
