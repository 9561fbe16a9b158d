"""The worker's consumer: it dead-letters every malformed message, and logs only its ids.

Celery's own consumer acknowledges (and so loses) what it cannot decode, logs whole bodies, and its main
process stops on several kinds of malformed messages, each of which then stops the next worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer.consumer import Consumer

from tasks.topology import declare_topology

log = structlog.get_logger(__name__)


class SafeConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, for messages that must not be lost."""

    def connect(self) -> Any:
        """A connection to a broker with everything declared: a worker may be the first to connect."""
        connection = super().connect()
        declare_topology(connection, self.app.conf.task_queues)
        return connection

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler, with a check of the message's form before it and a safety net after it."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            reason = malformed(message)
            if reason:
                self._bury(message, reason)
                return
            try:
                handle(message)
            except (*self.connection_errors, MemoryError):
                raise  # not the message's fault: it is redelivered
            except Exception as error:  # noqa: BLE001 - otherwise the worker's main process ends
                self._bury(message, type(error).__name__)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body is not what the headers say."""
        self._bury(message, type(exc).__name__)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """The message is not a task."""
        self._bury(message, "not a task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """No handler has the message's name."""
        self._bury(message, "unknown task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """The headers are invalid."""
        self._bury(message, type(exc).__name__)

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection of the events for Flower, without confirms.

        On the thread pool, waiting for confirms deadlocks, and losing an event does no harm.
        """
        options = {**self.app.conf.broker_transport_options, "confirm_publish": False}
        connection = self.app.connection_for_write(url=url, heartbeat=heartbeat, transport_options=options)
        return self.ensure_connected(connection)

    def _bury(self, message: Any, reason: str) -> None:
        log.error("message dead-lettered", reason=reason, **_identity(message))
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)


def malformed(message: Any) -> str | None:
    """Why Celery could not handle the message; None if it can."""
    headers = message.headers
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
        return "no task name"
    if not isinstance(headers.get("id"), str):
        return "no message id"
    match headers.get("timelimit") or [None, None]:
        case [hard, soft] if _is_limit(hard) and _is_limit(soft):
            pass
        case _:
            return "no time limit"
    try:
        payload = message.payload
    except Exception as error:  # noqa: BLE001 - decoders raise what they like
        return type(error).__name__
    match payload:
        case [[], dict(), dict()]:
            return None
        case _:
            return "no keyword arguments"


def _is_limit(limit: Any) -> bool:
    return limit is None or (isinstance(limit, int | float) and not isinstance(limit, bool))


def _identity(message: Any) -> dict[str, str]:
    headers = message.headers if isinstance(message.headers, dict) else {}
    info = message.delivery_info or {}
    return {
        "task": str(headers.get("task"))[:100],
        "message_id": str(headers.get("id"))[:100],
        "queue": str(info.get("routing_key"))[:100],
    }
