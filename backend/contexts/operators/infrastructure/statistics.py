"""What operations tell about speed: the lanes by minute, and the commands by name.

Each statement reads the newest operations of a window, and no more than `MOST`: it stays quick under any load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from backend.kernel.delivery.inbox import Status, operations
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.statements import Statement

MOST = 100_000
"""The most operations that one statement reads."""
MINUTES = 60


@dataclass(frozen=True)
class LaneMinute:
    """What was finished of a lane within a minute.

    Attributes:
        ago: minutes before now.
        wait_p95: seconds from acceptance until a worker took the message; None if no message tells it.
    """

    lane: str
    ago: int
    finished: int
    wait_p95: float | None


@dataclass(frozen=True)
class CommandStatistics:
    """What became of a command within a window.

    Attributes:
        p50, p95: seconds from acceptance to outcome; None if no operation tells it.
        problems: how many failed, by the code of the problem.
    """

    command: str
    succeeded: int
    failed: int
    p50: float | None
    p95: float | None
    problems: dict[str, int]


@dataclass(frozen=True)
class Statistics:
    """What became of every command within a window.

    Attributes:
        since: the beginning of the window; later if more than `MOST` operations were finished in it.
    """

    since: datetime
    items: list[CommandStatistics]


def lane_minutes(connection: ReadConnection, lane_of: Mapping[str, str]) -> list[LaneMinute]:
    """The last hour of each lane in which something was finished, by minute.

    Args:
        lane_of: the lane of each task.
    """
    window = timedelta(minutes=MINUTES)
    return _BY_MINUTE.all(connection, window=window, most=MOST, tasks=list(lane_of), lanes=list(lane_of.values()))


def of_commands(connection: ReadConnection, commands: Sequence[str], window: timedelta, most: int = MOST) -> Statistics:
    """What became of commands within the window that ends now, by name, from the newest `most` operations."""
    asked = {"window": window, "most": most, "commands": list(commands)}
    since = _SINCE.one(connection, window=window, others=most - 1)
    counted = _BY_COMMAND.all(connection, **asked)
    problems: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for one in _BY_PROBLEM.all(connection, **asked):
        problems[one.command][one.code] = one.number
    if since is None:
        raise AssertionError("a select without FROM has one row")
    return Statistics(since.at, [CommandStatistics(**vars(one), problems=problems[one.command]) for one in counted])


@dataclass(frozen=True)
class _Counted:
    command: str
    succeeded: int
    failed: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class _Problem:
    command: str
    code: str
    number: int


@dataclass(frozen=True)
class _Since:
    at: datetime


_ONE = operations.c
_BEGINNING = sa.func.now() - sa.bindparam("window", type_=sa.Interval)
_RECENT = (
    sa.select(operations)
    .where(_ONE.finished_at > _BEGINNING)
    .order_by(_ONE.finished_at.desc())
    .limit(sa.bindparam("most", type_=sa.Integer))
    .subquery("recent")
)
_OF = _RECENT.c


def _seconds(interval: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """At least 0: clocks of two machines may differ. As double precision, which sorts faster than numeric."""
    return sa.func.greatest(sa.func.date_part("epoch", interval), 0)


def _percentile(share: float, seconds: sa.ColumnElement[Any], *known: sa.ColumnElement[bool]) -> sa.Cast[float]:
    return sa.cast(sa.func.percentile_cont(share).within_group(seconds).filter(*known), sa.Float)


_LANE_OF = (
    sa.func.unnest(sa.bindparam("tasks", type_=sa.ARRAY(sa.Text)), sa.bindparam("lanes", type_=sa.ARRAY(sa.Text)))
    .table_valued(sa.column("task", sa.Text), sa.column("lane", sa.Text), name="lane_of")
    .render_derived()
)
_AGO = sa.cast(sa.func.floor(_seconds(sa.func.now() - _OF.finished_at) / 60), sa.Integer)
_WAIT = _seconds(_OF.taken_at - _OF.accepted_at)
_FIRST_TRY = (_OF.attempts == 1, _OF.taken_at.is_not(None), _OF.accepted_at.is_not(None))
_BY_MINUTE = Statement(
    sa.select(
        _LANE_OF.c.lane,
        _AGO.label("ago"),
        sa.func.count().label("finished"),
        _percentile(0.95, _WAIT, *_FIRST_TRY).label("wait_p95"),
    )
    .join_from(_RECENT, _LANE_OF, _LANE_OF.c.task == _OF.name)
    .group_by(_AGO, _LANE_OF.c.lane),
    LaneMinute,
)
_SINCE = Statement(
    sa.select(
        sa.func.coalesce(
            sa.select(_ONE.finished_at)
            .where(_ONE.finished_at > _BEGINNING)
            .order_by(_ONE.finished_at.desc())
            .offset(sa.bindparam("others", type_=sa.Integer))
            .limit(1)
            .scalar_subquery(),
            _BEGINNING,
        ).label("at")
    ),
    _Since,
)
_OF_CALLERS = (_OF.cause.is_(None), _OF.name == sa.any_(sa.bindparam("commands", type_=sa.ARRAY(sa.Text))))
_DURATION, _ACCEPTED = _seconds(_OF.finished_at - _OF.accepted_at), _OF.accepted_at.is_not(None)
_BY_COMMAND = Statement(
    sa.select(
        _OF.name.label("command"),
        sa.func.count().filter(_OF.status == Status.SUCCEEDED).label("succeeded"),
        sa.func.count().filter(_OF.status == Status.FAILED).label("failed"),
        _percentile(0.5, _DURATION, _ACCEPTED).label("p50"),
        _percentile(0.95, _DURATION, _ACCEPTED).label("p95"),
    )
    .where(*_OF_CALLERS)
    .group_by(_OF.name)
    .order_by(_OF.name),
    _Counted,
)
_CODE = _OF.problem["code"].astext
_BY_PROBLEM = Statement(
    sa.select(_OF.name.label("command"), _CODE.label("code"), sa.func.count().label("number"))
    .where(*_OF_CALLERS, _CODE.is_not(None))
    .group_by(_OF.name, _CODE)
    .order_by(sa.func.count().desc(), _CODE),
    _Problem,
)
