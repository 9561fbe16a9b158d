"""Remote control answers queries and refuses commands.

Whoever reaches the broker can send Celery's commands: revoke a task, which acknowledges its message and so loses it;
consume other queues; shut down. A message leaves its lane only through the receiver, and only the operators of the
machine control workers.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from celery.app.control import Control
from celery.worker.control import Panel
from kombu import Queue
from kombu.pidbox import Mailbox

_HARMLESS_ORDERS = {"enable_events", "disable_events", "heartbeat"}
"""What Flower needs to see workers: events on, events off, a heartbeat."""
_COSTLY_QUESTIONS = {"memdump", "memsample", "objgraph"}


class FreshQueues(Mailbox):  # type: ignore[misc]
    """Gives the queue of a worker's remote control another name for each connection.

    It is exclusive, and RabbitMQ keeps it until it notices that the connection before is gone: with the same name, the
    worker could not start again meanwhile.
    """

    def get_queue(self, hostname: str) -> Queue:
        """The queue for the next connection."""
        return super().get_queue(f"{hostname}.{uuid4().hex}")


class RemoteControl(Control):  # type: ignore[misc]
    """Celery's remote control. The embedded broker would keep the queues of earlier connections."""

    def __init__(self, app: Any) -> None:
        if app.program.settings.on_rabbitmq:
            self.Mailbox = FreshQueues
        super().__init__(app)


def take_no_orders() -> None:
    """Make this process refuse every command of remote control, with a sentence."""
    for name, command in Panel.meta.items():
        if (command.type != "inspect" and name not in _HARMLESS_ORDERS) or name in _COSTLY_QUESTIONS:
            Panel.data[name] = _refused
    Panel.data["hello"] = _greeted


def _refused(_state: Any, **_arguments: Any) -> dict[str, str]:
    return {"error": "refused: this worker accepts no commands by remote control"}


def _greeted(state: Any, **_arguments: Any) -> dict[str, Any]:
    """The clock of this worker. Celery's own also accepts a list of revoked tasks, and returns one."""
    return {"revoked": [], "clock": state.app.clock.forward()}
