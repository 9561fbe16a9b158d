"""What needs an operator's attention, in one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backend.contexts.operators.infrastructure.about import AboutView, about_view
from backend.contexts.operators.infrastructure.lanes import LaneView, lane_views
from backend.contexts.operators.infrastructure.workers import ScheduledView, WorkerView, schedule_views, worker_views
from backend.kernel.delivery import dead_letters
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.outbox import Backlog
from backend.kernel.delivery.pauses import PausedTask, paused_tasks

_OUTBOX_SECONDS = 60
_MISSING_AFTER = timedelta(seconds=10)
_FINE = (None, "succeeded")


@dataclass(frozen=True)
class Warned:
    """One thing that is not as it should be.

    Attributes:
        code: stable; docs/runbooks/ has a page for most of them.
        about: the lane, worker or task concerned; "" for the whole program.
    """

    code: str
    about: str
    detail: str


@dataclass(frozen=True)
class OutboxView:
    """The messages that wait to be published."""

    rows: int
    oldest_seconds: float


@dataclass(frozen=True)
class StatusView:
    """The state of the program.

    Attributes:
        dead_letters: the open ones.
    """

    outbox: OutboxView
    dead_letters: int
    warnings: list[Warned]


def status_view(bus: Bus) -> StatusView:
    """The state of the program now."""
    backlog = bus.database.read(dead_letters.backlog, fresh=True)
    now = datetime.now(UTC)
    warnings = [
        *_of_lanes(lane_views(bus)),
        *_of_commands(bus.database.read(paused_tasks, fresh=True)),
        *_of_workers(worker_views(bus), now),
        *_of_schedule(schedule_views(bus)),
        *_of_backlog(backlog),
        *_of_migrations(about_view(bus)),
    ]
    return StatusView(OutboxView(backlog.rows, backlog.oldest_seconds), backlog.dead_letters, warnings)


def _of_lanes(lanes: Sequence[LaneView]) -> Iterator[Warned]:
    if any(lane.ready is None for lane in lanes):
        yield Warned("broker_away", "", "RabbitMQ does not answer. Commands are stored in the outbox meanwhile.")
    for lane in lanes:
        if lane.paused:
            yield Warned("lane_paused", lane.name, lane.paused.reason)
        elif lane.consumers == 0:
            yield Warned("lane_without_consumers", lane.name, "No worker takes its messages.")
        if lane.behind and not lane.paused:
            waited = "" if lane.behind.seconds is None else f" for {lane.behind.seconds:.0f} s"
            yield Warned("commands_late", lane.name, f"Messages wait{waited}.")


def _of_commands(paused: Sequence[PausedTask]) -> Iterator[Warned]:
    for one in paused:
        yield Warned("command_paused", one.name, one.reason)


def _of_workers(workers: Sequence[WorkerView], now: datetime) -> Iterator[Warned]:
    for worker in workers:
        if now - worker.seen_at > _MISSING_AFTER:
            yield Warned("worker_missing", worker.name, f"Silent for {(now - worker.seen_at).total_seconds():.0f} s.")


def _of_schedule(scheduled: Sequence[ScheduledView]) -> Iterator[Warned]:
    for one in scheduled:
        if one.last_run and one.last_run.result not in _FINE:
            yield Warned("scheduled_run_failed", one.name, str(one.last_run.result))


def _of_migrations(about: AboutView) -> Iterator[Warned]:
    if about.migrations_pending:
        yield Warned("migrations_pending", "", f"Run `alembic upgrade heads`: {', '.join(about.migrations_pending)}.")


def _of_backlog(backlog: Backlog) -> Iterator[Warned]:
    if backlog.dead_letters:
        yield Warned("dead_letters_open", "", f"{backlog.dead_letters} messages were given up.")
    if backlog.oldest_seconds > _OUTBOX_SECONDS:
        yield Warned("outbox_growing", "", f"The oldest message has waited for {backlog.oldest_seconds:.0f} s.")
