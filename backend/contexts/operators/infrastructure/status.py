"""What needs an operator's attention, in one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backend.contexts.operators.infrastructure.about import AboutView, about_view
from backend.contexts.operators.infrastructure.lanes import BehindView, LaneView, lane_views
from backend.contexts.operators.infrastructure.workers import ScheduledView, WorkerView, schedule_views, worker_views
from backend.kernel.delivery import dead_letters, retries
from backend.kernel.delivery import lanes as kept_lanes
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.lanes import LaneRow
from backend.kernel.delivery.outbox import Backlog
from backend.kernel.delivery.pauses import PausedTask, paused_tasks
from backend.kernel.messages.registry import Kind
from backend.kernel.observe import workers as known_workers
from backend.kernel.observe.workers import WorkerRow
from backend.kernel.postgres.database import clock_ahead
from backend.kernel.postgres.replica import ReplicaState

_OUTBOX_SECONDS = 60
_MISSING_AFTER = timedelta(seconds=10)
_STOPPED_AFTER = timedelta(minutes=1)
"""Two tasks of housekeeping run every two seconds."""
_CLOCK_SECONDS = 2
_STUCK_SECONDS = 10
_FULL_FOR = timedelta(minutes=1)
"""After its last refusal a lane may still be full, or nobody asks any more."""
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
    ahead = bus.database.read(clock_ahead, fresh=True)
    now = datetime.now(UTC) - ahead
    lanes, workers = lane_views(bus), worker_views(bus)
    alive = bus.database.read(known_workers.alive, fresh=True)
    warnings = [  # causes before what they cause
        *_of_migrations(about_view(bus)),
        *_of_commits(backlog.commits_waiting),
        *_of_workers(workers, now),
        *_of_stuck(alive),
        *_of_clock("", "The clock of this API process", ahead.total_seconds()),
        *_of_refusals(bus.database.read(kept_lanes.rows, fresh=True).values(), now),
        *_of_lanes(lanes),
        *_of_commands(bus.database.read(paused_tasks, fresh=True)),
        *_of_retries(bus.database.read(retries.stuck, fresh=True)),
        *_of_replica(bus.database.replica_state, backlog.commits_waiting),
        *_of_schedule(schedule_views(bus), workers, now, lambda: _why_stopped(lanes, workers, backlog.commits_waiting)),
        *_of_backlog(backlog),
    ]
    return StatusView(OutboxView(backlog.rows, backlog.oldest_seconds), backlog.dead_letters, warnings)


def _of_refusals(rows: Iterable[LaneRow], now: datetime) -> Iterator[Warned]:
    for row in rows:
        if row.refused_at and now - row.refused_at < _FULL_FOR:
            ago = (now - row.refused_at).total_seconds()
            yield Warned("lane_full", row.name, f"RabbitMQ refused messages for it, {max(ago, 0):.0f} s ago.")


def _of_lanes(lanes: Sequence[LaneView]) -> Iterator[Warned]:
    if any(lane.ready is None for lane in lanes):
        yield Warned("broker_away", "", "RabbitMQ does not answer. Commands are stored in the outbox meanwhile.")
    for lane in lanes:
        if lane.paused:
            yield Warned("lane_paused", lane.name, lane.paused.reason)
        elif lane.consumers == 0:
            yield Warned("lane_without_consumers", lane.name, "No worker takes its messages.")
        if lane.behind and not lane.paused:
            yield Warned("commands_late", lane.name, _late(lane, lane.behind))


def _late(lane: LaneView, behind: BehindView) -> str:
    if behind.seconds is None:
        return "Messages wait, and no worker has ever taken one."
    if behind.since and behind.since == lane.last_taken_at:
        return f"Messages wait, and no worker has taken one for {behind.seconds:.0f} s."
    return f"Messages of the last five minutes waited for up to {behind.seconds:.0f} s."


def _of_commands(paused: Sequence[PausedTask]) -> Iterator[Warned]:
    for one in paused:
        yield Warned("command_paused", one.name, one.reason)


def _of_workers(workers: Sequence[WorkerView], now: datetime) -> Iterator[Warned]:
    for worker in workers:
        if now - worker.seen_at > _MISSING_AFTER:
            yield Warned("worker_missing", worker.name, f"Silent for {(now - worker.seen_at).total_seconds():.0f} s.")
        yield from _of_clock(worker.name, "Its clock", worker.clock_ahead_seconds or 0)


def _of_stuck(alive: Sequence[WorkerRow]) -> Iterator[Warned]:
    for worker in alive:
        if (worker.stuck_seconds or 0) >= _STUCK_SECONDS:
            detail = (
                f"Holds messages ({sum(worker.held.values())}), and none of its processes has worked on one for"
                f" {worker.stuck_seconds:.0f} s: they are stopped, or hang."
            )
            yield Warned("worker_stuck", worker.name, detail)


def _of_clock(about: str, whose: str, ahead: float) -> Iterator[Warned]:
    if abs(ahead) > _CLOCK_SECONDS:
        way = "ahead of" if ahead > 0 else "behind"
        detail = f"{whose} is {abs(ahead):.0f} s {way} PostgreSQL's. Waits and times that it tells are wrong by that."
        yield Warned("clock_wrong", about, detail)


def _of_retries(stuck: Sequence[tuple[str, int, str]]) -> Iterator[Warned]:
    for lane, number, reason in stuck:
        yield Warned("messages_delayed", lane, f"Tried in vain for over a minute: {number}. Most often: {reason}.")


def _of_commits(waiting: int) -> Iterator[Warned]:
    if waiting:
        detail = (
            f"Commits wait for a standby for over 5 s: {waiting}. Reading works, and no command ends. Nothing is wrong"
            " with the workers."
        )
        yield Warned("commits_wait", "", detail)


def _of_replica(state: ReplicaState | None, commits_waiting: int) -> Iterator[Warned]:
    if state not in (None, ReplicaState.UP):
        how = "is behind" if state is ReplicaState.LAGGING else "does not answer"
        meanwhile = "Commits wait, perhaps for it" if commits_waiting else "The primary answers its queries meanwhile"
        yield Warned("replica_away", "", f"The replica {how}. {meanwhile}.")


def _of_schedule(
    scheduled: Sequence[ScheduledView], workers: Sequence[WorkerView], now: datetime, why: Callable[[], str]
) -> Iterator[Warned]:
    # A deployment in which nothing ever ran counts from the start of the worker that would have done it.
    began = [one.last_run.started_at for one in scheduled if one.next_run_at is None and one.last_run] or [
        worker.started_at for worker in workers if "maintenance" in worker.kinds
    ]
    if began and now - max(began) > _STOPPED_AFTER:
        seconds = (now - max(began)).total_seconds()
        yield Warned("housekeeping_stopped", "", f"Nothing has run for {seconds:.0f} s. {why()}")
    for one in scheduled:
        if one.last_run and one.last_run.result not in _FINE:
            yield Warned("scheduled_run_failed", one.name, str(one.last_run.result))


def _why_stopped(lanes: Sequence[LaneView], workers: Sequence[WorkerView], commits_waiting: int) -> str:
    lane = next(lane for lane in lanes if lane.name == Kind.MAINTENANCE)
    if commits_waiting:
        return "No run ends while commits wait."
    if lane.paused:
        return "Its lane is paused."
    if lane.ready is None:
        return "RabbitMQ does not answer."
    if not lane.consumers:
        return "No worker for maintenance runs."
    if lane.ready or lane.unacked:
        busy = [one["task"] for worker in workers if Kind.MAINTENANCE in worker.kinds for one in worker.busy]
        doing = f"is busy: {', '.join(busy)}" if busy else "begins none"
        return f"Messages wait in its lane, so beat runs; the worker for maintenance {doing}."
    return "Nothing waits in its lane: beat does not run, or does not reach RabbitMQ."


def _of_migrations(about: AboutView) -> Iterator[Warned]:
    if about.migrations_pending:
        yield Warned("migrations_pending", "", f"Run `alembic upgrade heads`: {', '.join(about.migrations_pending)}.")


def _of_backlog(backlog: Backlog) -> Iterator[Warned]:
    if backlog.dead_letters:
        yield Warned("dead_letters_open", "", f"Messages that were given up: {backlog.dead_letters}.")
    if backlog.oldest_seconds > _OUTBOX_SECONDS:
        yield Warned("outbox_growing", "", f"The oldest message has waited for {backlog.oldest_seconds:.0f} s.")
