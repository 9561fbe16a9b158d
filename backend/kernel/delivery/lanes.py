"""The table `lanes`: whether a lane is paused, when work on it last started, and when it last took no more.

Guarantee: a pause is a row, so it survives restarts of everything, and a worker that starts finds it. Messages stay
in the broker meanwhile.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from backend.kernel.delivery.inbox import operations
from backend.kernel.messages.registry import Kind
from backend.kernel.observe.workers import WorkerRow
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.statements import Statement
from backend.kernel.postgres.tables import metadata

lanes = sa.Table(
    "lanes",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("paused_at", sa.DateTime(timezone=True)),
    sa.Column("paused_by", sa.Uuid),
    sa.Column("pause_reason", sa.Text),
    sa.Column("last_taken_at", sa.DateTime(timezone=True)),
    sa.Column("refused_at", sa.DateTime(timezone=True)),
)
# Neither has to survive a crash: they do not wait for the disk, nor for a standby.
_TAKEN = """
with quickly as materialized (select set_config('synchronous_commit', 'off', true))
insert into lanes (name, last_taken_at)
select name, clock_timestamp() - ago from quickly, unnest(%s::text[], %s::interval[]) as taken (name, ago)
on conflict (name) do update set last_taken_at = greatest(lanes.last_taken_at, excluded.last_taken_at)
"""
_REFUSED = """
with quickly as materialized (select set_config('synchronous_commit', 'off', true))
insert into lanes (name, refused_at) select %s, clock_timestamp() from quickly
on conflict (name) do update set refused_at = excluded.refused_at
"""
LATE_AFTER = timedelta(seconds=5)
"""How long a message may wait before its lane is behind."""
_RECENT = 10_000
"""The most operations for percentiles: enough for them, and quick under any load."""


@dataclass(frozen=True)
class LaneRow:
    """The stored state of a lane."""

    name: str
    paused_at: datetime | None
    paused_by: UUID | None
    pause_reason: str | None
    last_taken_at: datetime | None
    refused_at: datetime | None


@dataclass(frozen=True)
class Wait:
    """How long the messages of the last five minutes waited until a worker took them, in seconds."""

    lane: str
    p50: float
    p95: float


NOTHING_KEPT = LaneRow("", None, None, None, None, None)
"""The state of a lane that never had a message."""


def pause(connection: sa.Connection, lane: str, by: UUID | None, reason: str) -> None:
    """Pause the lane. A paused one keeps its time and gets the new reason."""
    statement = insert(lanes).values(name=lane, paused_at=sa.func.now(), paused_by=by, pause_reason=reason)
    excluded = statement.excluded
    again = {
        "paused_at": sa.func.coalesce(lanes.c.paused_at, excluded.paused_at),
        "paused_by": excluded.paused_by,
        "pause_reason": excluded.pause_reason,
    }
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=again))


def resume(connection: sa.Connection, lane: str) -> None:
    """End the pause, if there is one."""
    nothing = {"paused_at": None, "paused_by": None, "pause_reason": None}
    connection.execute(lanes.update().where(lanes.c.name == lane).values(nothing))


def paused(connection: ReadConnection) -> frozenset[str]:
    """The lanes that are paused."""
    return frozenset(name for (name,) in connection.execute("select name from lanes where paused_at is not null"))


def note_taken(connection: ReadConnection, taken: Mapping[str, timedelta]) -> None:
    """Record how long ago a worker last started a message of each lane: its clock may be wrong, not how far it went."""
    connection.execute(_TAKEN, (list(taken), list(taken.values())))


def note_refused(connection: ReadConnection, lane: str) -> None:
    """Record that the broker refused a message for the lane just now."""
    connection.execute(_REFUSED, (lane,))


def rows(connection: ReadConnection) -> dict[str, LaneRow]:
    """The stored state by lane; a lane that never had a message has no row."""
    return {row.name: row for row in _ROWS.all(connection)}


def unstarted(alive: Sequence[WorkerRow], lane_of: Mapping[str, str]) -> Counter[str]:
    """By lane, how many messages workers have taken and not started.

    Args:
        alive: the workers.
        lane_of: the lane of each task.
    """
    held = sum((Counter(worker.held) for worker in alive), Counter[str]())
    busy = Counter(lane_of.get(one["task"], Kind.MAINTENANCE.value) for worker in alive for one in worker.busy)
    return held - busy


def stands_still(row: LaneRow, waiting: int, now: datetime) -> float:
    """For how many seconds no worker has started a message of a lane in which `waiting` messages wait: infinity if none
    ever did, 0 if the lane moves or nothing waits.
    """
    if not waiting:
        return 0
    seconds = (now - row.last_taken_at).total_seconds() if row.last_taken_at else math.inf
    return seconds if seconds > LATE_AFTER.total_seconds() else 0


def waits(connection: ReadConnection, lane_of: Mapping[str, str]) -> dict[str, Wait]:
    """How long messages waited recently, by lane.

    Args:
        lane_of: the lane of each task that counts.
    """
    found = _WAITS.all(connection, tasks=list(lane_of), lanes=list(lane_of.values()))
    return {wait.lane: wait for wait in found}


_ROWS = Statement(sa.select(lanes), LaneRow)
_OPERATION = operations.c
_FIRST_TRIES = (
    sa.select(_OPERATION.name, (_OPERATION.taken_at - _OPERATION.accepted_at).label("wait"))
    .where(
        _OPERATION.finished_at > sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 5),
        _OPERATION.attempts == 1,
        _OPERATION.taken_at.is_not(None),
        _OPERATION.accepted_at.is_not(None),
    )
    .order_by(_OPERATION.finished_at.desc())
    .limit(_RECENT)
    .subquery()
)
_LANE_OF = (
    sa.func.unnest(sa.bindparam("tasks", type_=sa.ARRAY(sa.Text)), sa.bindparam("lanes", type_=sa.ARRAY(sa.Text)))
    .table_valued(sa.column("task", sa.Text), sa.column("lane", sa.Text), name="lane_of")
    .render_derived()
)
_SECONDS = sa.func.greatest(sa.func.date_part("epoch", _FIRST_TRIES.c.wait), 0)


def _percentile(share: float) -> sa.ColumnElement[float]:
    return sa.cast(sa.func.percentile_cont(share).within_group(_SECONDS), sa.Float)


_WAITS = Statement(
    sa.select(_LANE_OF.c.lane, _percentile(0.5).label("p50"), _percentile(0.95).label("p95"))
    .join_from(_FIRST_TRIES, _LANE_OF, _LANE_OF.c.task == _FIRST_TRIES.c.name)
    .group_by(_LANE_OF.c.lane),
    Wait,
)
