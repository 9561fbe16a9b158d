"""`flask lanes …`, `flask workers` and `flask schedule`."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from flask.cli import AppGroup, with_appcontext

from backend.contexts.operators.application.commands import PauseCommand, PauseLane, ResumeCommand, ResumeLane
from backend.contexts.operators.infrastructure.lanes import (
    BehindView,
    LaneHistory,
    LaneView,
    lane_histories,
    lane_views,
)
from backend.contexts.operators.infrastructure.printing import REASON, table
from backend.contexts.operators.infrastructure.workers import ScheduledView, WorkerView, schedule_views, worker_views
from backend.kernel.delivery.pauses import paused_tasks
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals, say

_BARS = " ▁▂▃▄▅▆▇█"

lanes = AppGroup("lanes", help="The queues of each kind of work: list, pause, resume.")


@lanes.command("list")
@reports_refusals
def list_lanes() -> None:
    """Show the messages and consumers of each lane, how long messages wait, and which lane is behind since when."""
    heading = ("LANE", "READY", "UNACKED", "DELAYED", "CONSUMERS", "P50", "P95", "LAST TAKEN", "BEHIND", "PAUSED")
    table([heading, *map(_lane, lane_views(api().bus))])
    for paused in api().bus.database.read(paused_tasks, fresh=True):
        say(f"paused: {paused.name}  {_ago(paused.since)} by {paused.by or 'an operator'}: {paused.reason}")


@lanes.command("history")
@reports_refusals
def history() -> None:
    """Show how many messages of each lane were finished in each minute of the last hour."""
    table([("LANE", "PER MINUTE", "MOST", "LAST HOUR"), *map(_history, lane_histories(api().bus))])


@lanes.command("pause")
@click.argument("lane")
@click.option("--reason", required=True, type=REASON, help="Why; everybody who looks at the lanes reads it.")
@reports_refusals
def pause(*, lane: str, reason: str) -> None:
    """Pause LANE, or one command of a lane, such as users.create_user: within five seconds no worker starts a message
    of it until it is resumed.
    """
    api().bus.execute(PauseCommand(lane, reason) if _is_command(lane) else PauseLane(lane, reason))
    click.echo(f"{lane}  paused")


@lanes.command("resume")
@click.argument("lane")
@reports_refusals
def resume(*, lane: str) -> None:
    """Resume LANE, or one command."""
    api().bus.execute(ResumeCommand(lane) if _is_command(lane) else ResumeLane(lane))
    click.echo(f"{lane}  resumed")


def _is_command(name: str) -> bool:
    registry = api().bus.registry
    return name in registry.queued() and name not in registry.every_lane()


@click.command("workers")
@with_appcontext
@reports_refusals
def workers() -> None:
    """Show what each worker is doing."""
    heading = ("WORKER", "KINDS", "PROCESSES", "MEMORY", "SEEN", "BUSY WITH")
    table([heading, *map(_worker, worker_views(api().bus))])


@click.command("schedule")
@with_appcontext
@reports_refusals
def schedule() -> None:
    """Show what runs when, and how the last run ended."""
    heading = ("NAME", "RUNS", "NEXT", "LAST", "RESULT", "MISSED")
    table([heading, *map(_scheduled, schedule_views(api().bus))])


def _scheduled(view: ScheduledView) -> tuple[str, ...]:
    last, next_run = view.last_run, view.next_run_at
    result = "-" if last is None else last.result or "running"
    due = next_run.isoformat(timespec="seconds").replace("+00:00", "Z") if next_run else "-"
    return view.name, view.rule, due, _ago(last.started_at if last else None), result, str(view.missed)


def _lane(view: LaneView) -> tuple[str, ...]:
    paused = view.paused
    return (
        view.name,
        *(
            "-" if number is None else str(number)
            for number in (view.ready, view.unacked, view.delayed, view.consumers)
        ),
        *("-" if wait is None else f"{wait:.3f} s" for wait in (view.wait_seconds.p50, view.wait_seconds.p95)),
        _ago(view.last_taken_at),
        _behind(view.behind),
        f"{_ago(paused.since)} by {paused.by or 'an operator'}: {paused.reason}" if paused else "",
    )


def _behind(behind: BehindView | None) -> str:
    if behind is None:
        return "-"
    seconds = "never taken" if behind.seconds is None else f"{behind.seconds:.0f} s"
    return f"{seconds}, since {_ago(behind.since)}" if behind.since else seconds


def _history(history: LaneHistory) -> tuple[str, ...]:
    most = max(history.finished)
    line = "".join(_BARS[-(-number * (len(_BARS) - 1) // most)] if most else _BARS[0] for number in history.finished)
    return history.name, f"{history.per_minute:.1f}", str(most), line


def _worker(view: WorkerView) -> tuple[str, ...]:
    memory = "-" if view.memory_bytes is None else f"{view.memory_bytes / 2**20:.0f} MiB"
    busy = ", ".join(f"{one['task']} {_ago(datetime.fromisoformat(one['since']))}" for one in view.busy)
    return view.name, ",".join(view.kinds), str(view.processes), memory, _ago(view.seen_at), busy or "-"


def _ago(at: datetime | None) -> str:
    return f"{max((datetime.now(UTC) - at).total_seconds(), 0):.0f} s ago" if at else "-"
