"""Remote control answers questions and takes no orders.

Whoever reaches the broker can send Celery's orders: to revoke a task, which acknowledges its message and so loses it;
to consume other queues; to shut down. A message leaves its lane through the bus only, and workers are controlled by
whoever runs them.
"""

from __future__ import annotations

from typing import Any

from celery.worker.control import Panel

_HARMLESS_ORDERS = {"enable_events", "disable_events", "heartbeat"}
"""What Flower needs to see workers: events on, events off, one heartbeat now."""
_COSTLY_QUESTIONS = {"memdump", "memsample", "objgraph"}


def take_no_orders() -> None:
    """Let this process refuse every order of remote control, with a sentence."""
    for name, command in Panel.meta.items():
        if (command.type != "inspect" and name not in _HARMLESS_ORDERS) or name in _COSTLY_QUESTIONS:
            Panel.data[name] = _refused
    Panel.data["hello"] = _greeted


def _refused(_state: Any, **_arguments: Any) -> dict[str, str]:
    return {"error": "refused: this worker takes no orders by remote control; see docs/operating.md"}


def _greeted(state: Any, **_arguments: Any) -> dict[str, Any]:
    """The clock of this worker. Celery's own takes a list of revoked tasks along, and tells one."""
    return {"revoked": [], "clock": state.app.clock.forward()}
