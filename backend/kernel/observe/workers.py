"""The table `workers`: one row per worker, which the worker writes every few seconds and deletes when it stops."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from backend.kernel.postgres.database import ReadConnection, clock_ahead
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.statements import Statement
from backend.kernel.postgres.tables import metadata

SHOWN_FOR = timedelta(minutes=5)
"""How long a worker that does not report is still listed; `seen_at` shows that it is missing."""
_ALIVE_FOR = timedelta(seconds=10)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("lanes", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("busy", JSONB, nullable=False),
    sa.Column("held", JSONB, nullable=False),
    sa.Column("processes", sa.Integer, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("told_at", sa.DateTime(timezone=True)),
    sa.Column("stuck_seconds", sa.Float),
)
# Nothing of it has to survive a crash, and it must be seen while commits wait for a standby.
_REPORT = """
with quickly as materialized (select set_config('synchronous_commit', 'off', true))
insert into workers (name, lanes, busy, held, processes, memory_bytes, started_at, told_at, stuck_seconds)
select %(name)s, %(lanes)s::text[], %(busy)s, %(held)s, %(processes)s, %(memory_bytes)s::bigint, %(started_at)s,
    clock_timestamp() + %(ahead)s, %(stuck_seconds)s::float from quickly
on conflict (name) do update set
    lanes = excluded.lanes, busy = excluded.busy, held = excluded.held, processes = excluded.processes,
    memory_bytes = excluded.memory_bytes, started_at = excluded.started_at, seen_at = clock_timestamp(),
    told_at = excluded.told_at, stuck_seconds = excluded.stuck_seconds
"""


@dataclass(frozen=True)
class Report:
    """The report of a worker.

    Attributes:
        name: of the worker among all workers.
        lanes: those it consumes, paused ones included.
        busy: `task`, `id` and `since` of each message that is being processed.
        held: by lane, how many messages it has taken and not finished.
        processes: how many messages it can process at the same time.
        memory_bytes: of its processes together; None if unknown.
        stuck_seconds: for how long it has held messages while none of its processes worked on one; None from an
            earlier release.
    """

    name: str
    lanes: list[str]
    busy: list[dict[str, str]]
    held: dict[str, int]
    processes: int
    memory_bytes: int | None
    started_at: datetime
    stuck_seconds: float | None


@dataclass(frozen=True)
class WorkerRow(Report):
    """The last report of a worker.

    Attributes:
        seen_at: its time by the clock of PostgreSQL.
        told_at: the same by the worker's own clock; None from an earlier release.
    """

    seen_at: datetime
    told_at: datetime | None

    @property
    def ahead(self) -> timedelta | None:
        """How far its clock is ahead of PostgreSQL's; negative while it is behind, None if unknown."""
        return self.told_at - self.seen_at if self.told_at else None


def report(connection: ReadConnection, told: Report) -> None:
    """Write the worker's row."""
    lists = {"busy": Jsonb(told.busy), "held": Jsonb(told.held)}
    connection.execute(_REPORT, {**vars(told), **lists, "ahead": clock_ahead(connection)})


def leave(connection: ReadConnection, name: str) -> None:
    """Delete the worker's row: it has stopped."""
    connection.execute("delete from workers where name = %s", (name,))


def known(connection: ReadConnection) -> list[WorkerRow]:
    """The workers that reported within `SHOWN_FOR`, by name."""
    return _KNOWN.all(connection, age=SHOWN_FOR)


def alive(connection: ReadConnection) -> list[WorkerRow]:
    """The workers that reported a moment ago."""
    return _KNOWN.all(connection, age=_ALIVE_FOR)


_COLUMNS = [workers.c[name] for name in WorkerRow.__dataclass_fields__]
_KNOWN = Statement(
    sa.select(*_COLUMNS)
    .where(workers.c.seen_at > sa.func.clock_timestamp() - sa.bindparam("age", type_=sa.Interval))
    .order_by(workers.c.name),
    WorkerRow,
)
RETENTION = Retention(workers.c.seen_at, timedelta(days=1))
