"""The Celery application of a program: `celery -A tasks.app worker`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog
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
from kombu import Connection

from backend.kernel.delivery.envelope import Queue
from backend.kernel.observe.logging import configure_logging
from backend.kernel.observe.tracing import configure_tracing, shutdown_tracing
from backend.program import Process, Program, load_program
from tasks import dead_letters, maintenance, messages
from tasks.broker import Nodes
from tasks.command_line import check_command, check_options, select_lanes
from tasks.delivery import check_delivery
from tasks.lanes import DEAD_LETTERS, MAINTENANCE, conf_of
from tasks.policies import warn_of_policies
from tasks.queue import CeleryQueue
from tasks.redaction import SafeAMQP
from tasks.remote_control import RemoteControl, take_no_orders
from tasks.topology import DELAYS
from tasks.uncompressed import accept_no_compression

OpenProcess = Callable[[Queue], Process]
log = structlog.get_logger(__name__)


class ProgramApp(Celery):  # type: ignore[misc]
    """Celery, with the program whose messages its tasks process.

    Attributes:
        taken: by task, when this worker last began with one.
    """

    def __init__(self, program: Program, open_process: OpenProcess) -> None:
        super().__init__("tasks", amqp=SafeAMQP, control=RemoteControl, set_as_current=False)
        self.program = program
        self.taken: dict[str, datetime] = {}
        self._lanes = {name: handler.lane for name, handler in program.registry.queued().items()}
        self.nodes = Nodes(program.settings.broker_url)
        self._open = open_process
        self._opening = threading.Lock()
        self._processes: dict[int, Process] = {}

    def connection_for_read(self, url: str | None = None, **options: Any) -> Connection:
        """A connection to consume on: to the node that answered last, if no other is asked for."""
        return super().connection_for_read(url or self._nodes(), **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Connection:
        """A connection to publish on."""
        return super().connection_for_write(url or self._nodes(), **options)

    def _nodes(self) -> str | None:
        return self.nodes.urls if self.program.settings.on_rabbitmq else None

    def process(self) -> Process:
        """The parts of this process, created on first use: connections do not survive the fork of a pool's child."""
        found = self._processes.get(os.getpid())
        if found is None:
            with self._opening:
                found = self._processes.get(os.getpid())
                if found is None:
                    found = self._processes[os.getpid()] = self._open(CeleryQueue(self))
        return found

    def lane_of(self, task: str) -> str:
        """The lane of that task."""
        return self._lanes.get(task, MAINTENANCE.value)

    def close_process(self) -> None:
        """Publish what is pending, and close the connections."""
        found = self._processes.pop(os.getpid(), None)
        if found is not None:
            found.close()
            found.queue.close()


def make_app(program: Program, open_process: OpenProcess | None = None) -> ProgramApp:
    """The Celery application of a program. Several may exist in one process.

    Args:
        open_process: creates the parts that the tasks use; by default the program's own.
    """
    app = ProgramApp(program, open_process or program.process)
    app.config_from_object("celeryconfig")
    app.conf.update(conf_of(program))
    app.Task.Request = "tasks.redaction:SafeRequest"
    for handler in program.registry.queued().values():
        messages.register(app, handler)
    maintenance.register(app)
    dead_letters.register(app)
    return app


def worker_app(program: Program, open_process: OpenProcess | None = None) -> ProgramApp:
    """The application that a worker or beat runs. It also sets up the process itself."""
    check_command()
    app = make_app(program, open_process)
    app.set_current()
    take_no_orders()
    accept_no_compression()
    _look_after(app)
    return app


def _look_after(app: ProgramApp) -> None:
    """Connect to Celery's signals, which are shared by all applications of a process."""

    @setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
    def configure(**_: Any) -> None:
        configure_logging(app.program.settings)

    @worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
    @worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
    def trace(**_: Any) -> None:
        """Set up each process that runs tasks: a pool's child, or with threads the worker itself."""
        configure_tracing(app.program.settings, "worker")

    @worker_process_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
    @worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
    def close(**_: Any) -> None:
        """A pool's child exits without `atexit`."""
        app.close_process()
        shutdown_tracing()

    @celeryd_init.connect(weak=False)  # type: ignore[untyped-decorator]
    @beat_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def check(options: Mapping[str, Any] | None = None, **_: Any) -> None:
        check_options(app, options or {})
        check_delivery(app)

    @worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
    def warn(sender: Any, **_: Any) -> None:
        """Of policies in a thread: the worker need not wait for another server."""
        if app.program.settings.on_rabbitmq and not sender.controller.pool_cls.uses_semaphore:
            log.warning("only the pool prefork ends a handler at its time limit")
        if app.program.settings.accept_unsigned:
            log.warning("messages of any author are processed: unset ACCEPT_UNSIGNED_MESSAGES once the lanes are empty")
        ours = (*(queue.name for queue in app.conf.task_queues), DEAD_LETTERS, DELAYS)
        threading.Thread(target=warn_of_policies, args=(app.program.settings, ours), daemon=True).start()

    @celeryd_after_setup.connect(weak=False)  # type: ignore[untyped-decorator]
    def select(**_: Any) -> None:
        select_lanes(app)


def __getattr__(name: str) -> Any:
    """`app`, the application of the program that the environment configures: created when Celery asks for it."""
    if name != "app":
        raise AttributeError(name)
    built = globals()["app"] = worker_app(load_program())
    return built
