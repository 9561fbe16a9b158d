"""Masks secrets in what Celery shows of a message: events, Flower, `inspect`, logs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery.app.amqp import AMQP
from celery.worker.request import Request

from backend.kernel.delivery.sealing import masked

_LONGEST = 1000
"""Characters of a representation. AMQP headers must fit into one frame, or the broker closes the connection."""


def representation(arguments: Any) -> str:
    """Arguments of a task as operators see them: secrets masked, and not too long."""
    return repr(masked(arguments))[:_LONGEST]


class SafeAMQP(AMQP):  # type: ignore[misc]
    """Writes the representations itself, for first sends, retries and chains alike.

    Celery uses a caller's `kwargsrepr` for the first send only.
    """

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Any:
        """A protocol 2 message with masked representations."""
        options["argsrepr"] = representation(args or ())
        options["kwargsrepr"] = representation(kwargs or {})
        return super().as_task_v2(task_id, name, args, kwargs, *more, **options)


class SafeRequest(Request):  # type: ignore[misc]
    """Shows the masked representation in `inspect active` and in Flower. It never discards a message.

    Headers that the message's MAC does not cover decide nothing, for anybody can write them: a limit of time is the
    handler's, and it is RabbitMQ that delays.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.time_limits = (None, None)
        if self.app.program.settings.on_rabbitmq:
            self._eta = None

    def revoked(self) -> bool:
        """Only housekeeping may expire: Celery acknowledges, and so loses, what was revoked or is too late."""
        return str(self.name).startswith("maintenance.") and bool(super().revoked())

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Record that a process has started the task."""
        super().on_accepted(pid, time_accepted)
        self.app.taken[self.name] = datetime.now(UTC)

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Celery's signature
        """The description of a running task for remote control."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown
