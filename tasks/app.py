"""The Celery application: `celery -A tasks.app worker`."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import (
    beat_init,
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
)

from backend.kernel.messages.registry import Lane
from backend.settings import CONTEXTS, load_settings
from tasks.redaction import SafeAMQP

if TYPE_CHECKING:
    from backend.kernel.delivery.bus import Bus
    from tasks.queue import CeleryQueue

app = Celery("tasks", amqp=SafeAMQP, include=["tasks.messages", "tasks.maintenance", "tasks.dead_letters"])
app.config_from_object("celeryconfig")
app.Task.Request = "tasks.redaction:SafeRequest"

_building = threading.Lock()
_open: dict[int, tuple[Bus, CeleryQueue]] = {}


def bus() -> Bus:
    """The bus of this process, built on first use: connections do not survive the fork of a pool's child."""
    found = _open.get(os.getpid())
    if found is None:
        from backend.program import build_bus  # noqa: PLC0415 - tasks.queue imports this module
        from tasks.queue import CeleryQueue  # noqa: PLC0415

        with _building:
            found = _open.get(os.getpid())
            if found is None:
                queue = CeleryQueue()
                found = _open[os.getpid()] = (build_bus(load_settings(), queue), queue)
    return found[0]


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(**_: Any) -> None:
    from backend.kernel.observe.logging import configure_logging  # noqa: PLC0415

    configure_logging(load_settings())


@worker_process_init.connect  # type: ignore[untyped-decorator]
@worker_ready.connect  # type: ignore[untyped-decorator]
def _configure_tracing(**_: Any) -> None:
    """In each process that may work: a pool's child, or with threads the worker itself."""
    from backend.kernel.observe.tracing import configure_tracing  # noqa: PLC0415

    configure_tracing(load_settings(), "worker")


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_: Any) -> None:
    """A pool's child ends without `atexit`: publish and send what waits, and take leave of broker and database."""
    from backend.kernel.observe.tracing import shutdown_tracing  # noqa: PLC0415

    if os.getpid() in _open:
        found, queue = _open.pop(os.getpid())
        found.close()
        queue.close()
    shutdown_tracing()


@celeryd_init.connect  # type: ignore[untyped-decorator]
@beat_init.connect  # type: ignore[untyped-decorator]
def _check_delivery(**_: Any) -> None:
    from tasks.delivery import UnsafeDelivery, check_delivery  # noqa: PLC0415

    try:
        check_delivery(app.conf)
    except UnsafeDelivery as unsafe:
        raise SystemExit(str(unsafe)) from None  # Celery logs any other exception of a receiver, and goes on


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _select_lanes(**_: Any) -> None:
    """Consume the lanes of the kinds in LANES (`LANES=hashing,mail`), of the contexts in CONTEXTS, by default all."""
    kinds = {kind.strip() for kind in os.environ.get("LANES", "").split(",")} - {""} or set(Lane)
    lanes = [queue.name for queue in app.conf.task_queues if queue.name.rpartition(".")[2] in kinds]
    if not lanes or not kinds <= set(Lane):
        raise SystemExit(f"LANES must name kinds of work among {', '.join(Lane)}, one of them in use")
    others = set(CONTEXTS) - set(load_settings().contexts)
    ours = [lane for lane in lanes if lane.partition(".")[0] not in others]
    app.amqp.queues.select(ours or [Lane.MAINTENANCE])  # Celery takes an empty selection for all
