"""The table `schedule`: scheduled commands and tasks, when they are due, and how the last run ended.

Guarantee: a run is a row of the outbox, written in the transaction that advances the due time: it is sent once, however
many sweeps run. A run that is due while the previous one has not ended is skipped and counted as missed, and so is
every run but one of those that were due while no sweep ran.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from backend.kernel.delivery import outbox
from backend.kernel.delivery.codec import Codec
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.registry import Handler
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.statements import Statement, run
from backend.kernel.postgres.tables import metadata

schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("due_at", sa.DateTime(timezone=True)),
    sa.Column("run_id", sa.Uuid),
    sa.Column("started_at", sa.DateTime(timezone=True)),
    sa.Column("finished_at", sa.DateTime(timezone=True)),
    sa.Column("result", sa.Text),
    sa.Column("missed", sa.Integer, nullable=False, server_default="0"),
)
_ONE_AT_A_TIME = "select pg_try_advisory_xact_lock(hashtextextended('schedule', 0)) as ours"
_SETTLE = """
update schedule set run_id = null, finished_at = ended.finished_at,
    result = coalesce(ended.problem ->> 'code', ended.status)
from operations ended where ended.id = schedule.run_id
"""
_DECLARE = """
insert into schedule (name, rule, due_at) values (%(name)s, %(rule)s, %(due_at)s)
on conflict (name) do update set rule = excluded.rule, due_at = excluded.due_at
where schedule.rule <> excluded.rule or schedule.due_at is null
"""
_NEXT = """
update schedule set due_at = %(due_at)s, missed = missed + %(missed)s, run_id = coalesce(%(run_id)s, run_id),
    started_at = case when %(run_id)s::uuid is null then started_at else clock_timestamp() end,
    finished_at = case when %(run_id)s::uuid is null then finished_at end,
    result = case when %(run_id)s::uuid is null then result end
where name = %(name)s
"""
_NOTE = """
insert into schedule (name, rule, started_at, finished_at, result)
values (%(name)s, %(rule)s, %(started_at)s, clock_timestamp(), %(result)s)
on conflict (name) do update set rule = excluded.rule, started_at = excluded.started_at,
    finished_at = excluded.finished_at, result = excluded.result
"""


@dataclass(frozen=True)
class ScheduleRow:
    """The stored state of a scheduled command or task.

    Attributes:
        run_id: the operation of the current run.
        result: of the last run: `succeeded`, or a problem's code.
        missed: runs that were skipped.
    """

    name: str
    rule: str
    due_at: datetime | None
    run_id: UUID | None
    started_at: datetime | None
    finished_at: datetime | None
    result: str | None
    missed: int


def start_due(database: Database, handlers: Iterable[Handler], codec: Codec) -> None:
    """Send the commands that are due."""
    scheduled = {handler.name: (handler, handler.schedule) for handler in handlers if handler.schedule is not None}
    if not scheduled:
        return
    now = datetime.now(UTC)
    with database.transaction() as connection:
        if not connection.scalar(sa.text(_ONE_AT_A_TIME)):
            return
        run(connection, _SETTLE, {})
        for name, (_, rule) in scheduled.items():
            run(connection, _DECLARE, {"name": name, "rule": str(rule), "due_at": rule.after(now)})
        for row in connection.execute(sa.select(schedule).where(schedule.c.due_at <= now)).all():
            if row.name in scheduled:
                handler, rule = scheduled[row.name]
                run_id = None if row.run_id else _send(connection, handler, codec)
                missed = rule.count(row.due_at, now) + (run_id is None)
                step = {"name": row.name, "due_at": rule.after(now), "missed": missed, "run_id": run_id}
                run(connection, _NEXT, step)


def _send(connection: sa.Connection, handler: Handler, codec: Codec) -> UUID:
    run_id = uuid7()
    token = current_origin.set(Origin(request_id=f"scheduled-{run_id.hex}"))
    try:
        outbox.write(connection, [(f"schedule:{handler.name}", codec.of_command(handler.message(), run_id))])
    finally:
        current_origin.reset(token)
    return run_id


def note_run(database: Database, name: str, rule: str, started_at: datetime, result: str) -> None:
    """Record how a run of housekeeping ended."""
    with database.transaction() as connection:
        run(connection, _NOTE, {"name": name, "rule": rule, "started_at": started_at, "result": result})


def rows(connection: ReadConnection) -> dict[str, ScheduleRow]:
    """The stored state, by name."""
    return {row.name: row for row in _ROWS.all(connection)}


_ROWS = Statement(sa.select(schedule).order_by(schedule.c.name), ScheduleRow)
