"""The reports of a worker to PostgreSQL, and the pauses of lanes that it reads there.

A thread of the worker's main process does both every two seconds, on a connection of its own. While the database is
away nothing changes: paused lanes stay paused.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog
from celery.worker import state

from backend.kernel.delivery import lanes
from backend.kernel.observe import workers
from backend.kernel.observe.workers import Report
from backend.kernel.postgres.connecting import parameters_of, prepare
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.faults import MIGRATIONS_MISSING, away, lacks_migrations

_EVERY = 2.0
_FIRST_ANSWER = 3.0
"""Seconds that a new worker waits for the pauses before it takes its first message."""

log = structlog.get_logger(__name__)


class Reporter:
    """Reports on the worker of this process.

    Args:
        app: the `ProgramApp`.
        name: of the worker.
        report: creates the current report.
        on_answer: called on the thread after each exchange.

    Attributes:
        paused: the paused lanes, as of the last exchange.
    """

    def __init__(self, app: Any, name: str, report: Callable[[], Report], on_answer: Callable[[], None]) -> None:
        self._app = app
        self._name = name
        self._report = report
        self._on_answer = on_answer
        self._stopped = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._connected = True
        self.paused: frozenset[str] = frozenset()

    @property
    def started(self) -> bool:
        """Whether it was."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Start the thread, once, and wait until it has read the pauses or failed to."""
        if self._thread.ident is None:
            self._thread.start()
            self._answered.wait(_FIRST_ANSWER)

    def stop(self) -> None:
        """Stop reporting."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(_EVERY)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._exchange_until_stopped()
            except (psycopg.Error, OSError) as error:
                if self._connected:
                    reason = MIGRATIONS_MISSING if lacks_migrations(error) else str(away(error))
                    log.warning("the database is away: pauses stay as they are", reason=reason)
                self._connected = False
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever it was
                log.warning("the worker could not report", reason=type(error).__name__)
            self._answered.set()
            self._on_answer()
            self._stopped.wait(_EVERY)

    def _exchange_until_stopped(self) -> None:
        with psycopg.connect(
            **{**parameters_of(self._app.program.settings.database_url), "autocommit": True}
        ) as connection:
            prepare(connection)
            while True:
                self._exchange(connection)
                self._connected = True
                self._answered.set()
                self._on_answer()
                if self._stopped.wait(_EVERY):
                    workers.leave(connection, self._name)
                    return

    def _exchange(self, connection: ReadConnection) -> None:
        self.paused = lanes.paused(connection)
        workers.report(connection, self._report())
        taken, self._app.taken = self._app.taken, {}
        if taken:
            latest: dict[str, timedelta] = {}
            now = datetime.now(UTC)
            for task, at in sorted(taken.items(), key=lambda item: item[1]):
                latest[self._app.lane_of(task)] = now - at
            lanes.note_taken(connection, latest)


class Standstill:
    """For how long messages have waited in this worker while none of its processes worked on one.

    Looks are counted, not seconds: a worker that was stopped as a whole, or has no processor time, is not stuck when it
    goes on.

    Args:
        is_still: whether that is so now.
    """

    def __init__(self, is_still: Callable[[], bool]) -> None:
        self.is_still = is_still
        self._looks = 0

    @property
    def seconds(self) -> float:
        """As of the last look."""
        return max(self._looks - 1, 0) * _EVERY

    def look(self) -> float:
        """Look once, `_EVERY` seconds after the last time."""
        self._looks = self._looks + 1 if self.is_still() else 0
        return self.seconds


def busy() -> list[dict[str, str]]:
    """What the worker of this process is doing."""
    return [
        {"task": str(request.name), "id": str(request.id), "since": _moment(request.time_start)}
        for request in _those(state.active_requests)
        if request.time_start
    ]


def held(lane_of: Callable[[str], str]) -> dict[str, int]:
    """By lane, how many messages this worker has taken and not finished."""
    return dict(Counter(lane_of(request.name) for request in taken()))


def taken() -> list[Any]:
    """The requests that this worker has taken and not finished."""
    return _those(state.reserved_requests)


def _those(requests: Any) -> list[Any]:
    """The requests of one of Celery's sets, which other threads change meanwhile: copying `data` is one step."""
    return [request for reference in requests.data.copy() if (request := reference()) is not None]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
