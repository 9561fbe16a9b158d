"""The table `operations`: the inbox, through which each message takes effect once, and the outcomes for callers.

Guarantee: a message's row is written in the transaction of its effect, so either both exist or
neither. The primary key is the message id: a second delivery finds it and stops. The one
exception is an operator's replay: it may replace a row whose message ended in a fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final
from uuid import UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from backend.kernel.delivery.envelope import Envelope
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.statements import Statement, run, run_rows
from backend.kernel.postgres.tables import metadata

CHANNEL = "operations"
"""NOTIFY channel; the payload is the id of an operation that somebody waits for."""
REUSED = "idempotency_key_reused"
"""The code of the failure of a command that came second under one Idempotency-Key, with another body."""


class Status(StrEnum):
    """The status of a finished operation. One without a row is pending."""

    SUCCEEDED = "succeeded"  # its effect is committed
    FAILED = "failed"  # refused by the domain, or given up after a fault


_AND = " "
"""Between the fingerprints of two commands under one Idempotency-Key that were both cancelled."""
_ANY = "*"
"""What release 0.2.0 wrote in place of both."""
_WITHOUT_TIME: Final = (1 << 80) - 1

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text),
    sa.Column("resource", sa.Text),
    sa.Column("problem", JSONB(none_as_null=True)),
    sa.Column("request_id", sa.Text),
    sa.Column("actor", sa.Uuid),
    sa.Column("cause", sa.Uuid),
    sa.Column("spooled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("address", sa.LargeBinary),
    sa.Column("accepted_at", sa.DateTime(timezone=True)),
    sa.Column("taken_at", sa.DateTime(timezone=True)),
    sa.Column("worker", sa.Text),
    sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("status in ('succeeded', 'failed')", name="status"),
    sa.Index(None, "finished_at"),
    sa.Index(None, "request_id"),
    sa.Index(None, "address", postgresql_where=sa.text("address is not null")),
    sa.Index(None, "actor", "finished_at", "id", postgresql_where=sa.text("cause is null and actor is not null")),
    sa.Index(None, "resource", postgresql_where=sa.text("cause is null and resource is not null")),
    sa.Index(None, "name", "finished_at", "id", postgresql_where=sa.text("cause is null")),
    sa.Index(None, "finished_at", "id", postgresql_where=sa.text("cause is null and status = 'failed'")),
    postgresql_partition_by="RANGE (id)",
)
_INSERT: Final = """
insert into operations
    (id, name, status, problem, attempts, fingerprint, resource, request_id, actor, cause, spooled, address,
     accepted_at, taken_at, worker, finished_at)
select id, name, status, problem, attempts, fingerprint, resource, request_id, actor, cause, spooled,
    decode(address, 'base64'), accepted_at, taken_at, worker, clock_timestamp()
from jsonb_to_recordset(%(rows)s) as
    new (id uuid, name text, status text, problem jsonb, attempts int, fingerprint text, resource text,
        request_id text, actor uuid, cause uuid, spooled boolean, address text, accepted_at timestamptz,
        taken_at timestamptz, worker text)
"""
# Only the message with this fingerprint was cancelled: another one under the same Idempotency-Key continues. Once two
# were cancelled the operation has ended: the key is reused by whatever comes third.
_CANCELLED_ANOTHER: Final = f"""
    where operations.problem ->> 'code' = 'cancelled'
        and operations.fingerprint not in (excluded.fingerprint, '{_ANY}')
        and strpos(operations.fingerprint, '{_AND}') = 0
"""
_ONCE: Final = f"""
on conflict (id) do update
    set status = excluded.status, problem = excluded.problem, attempts = excluded.attempts,
        fingerprint = excluded.fingerprint, resource = excluded.resource, finished_at = excluded.finished_at
    {_CANCELLED_ANOTHER}
"""  # noqa: S608 - fixed text
_CANCEL_BOTH: Final = f"""
on conflict (id) do update set fingerprint = operations.fingerprint || '{_AND}' || excluded.fingerprint
    {_CANCELLED_ANOTHER}
"""
_FAIL: Final = """
update operations set status = 'failed', problem = new.problem
from jsonb_to_recordset(%(rows)s) as new (id uuid, problem jsonb) where operations.id = new.id
"""
_UNLESS_KNOWN: Final = "on conflict (id) do nothing"
_OR_REPLAY: Final = """
on conflict (id) do update
    set status = excluded.status, problem = excluded.problem, attempts = excluded.attempts,
        finished_at = excluded.finished_at, taken_at = excluded.taken_at, worker = excluded.worker
    where operations.problem ->> 'code' = 'internal_error'
"""


class AlreadyDone(Exception):
    """The message was processed before."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an operation."""

    name: str
    status: str
    fingerprint: str | None
    resource: str | None
    problem: dict[str, Any] | None
    request_id: str | None
    accepted_at: datetime | None
    finished_at: datetime

    def concerns(self, fingerprint: str) -> bool:
        """Whether it is the outcome of the command with this fingerprint, or refuses it because another came first.

        The cancellation of one other command under the same Idempotency-Key does neither.
        """
        cancelled = self.problem is not None and self.problem["code"] == "cancelled"
        return not cancelled or len(fingerprints_of(self.fingerprint)) > 1 or self.is_of(fingerprint)

    def is_of(self, fingerprint: str) -> bool:
        """Whether it is the outcome of the command with this fingerprint, not of another under the same key."""
        return self.fingerprint == _ANY or fingerprint in fingerprints_of(self.fingerprint)


def fingerprints_of(recorded: str | None) -> list[str]:
    """Those of the commands whose outcome a row is: of two only if both were cancelled."""
    return (recorded or "").split(_AND)


_OUTCOME = Statement(
    sa.select(*(operations.c[name] for name in Outcome.__dataclass_fields__)).where(
        operations.c.id == sa.bindparam("id", type_=sa.Uuid)
    ),
    Outcome,
)


def outcome_of(connection: ReadConnection, operation_id: UUID) -> Outcome | None:
    """The outcome; None while the operation is pending."""
    return _OUTCOME.one(connection, id=operation_id)


def claim(connection: sa.Connection, envelope: Envelope) -> None:
    """Write the operation as succeeded, first in the transaction of its effect.

    A concurrent delivery of the same message waits here until this transaction ends.

    Raises:
        AlreadyDone: the row exists, and this is no replay that may replace it.
    """
    if not _write(connection, envelope, Status.SUCCEEDED, None):
        raise AlreadyDone


def claim_all(connection: sa.Connection, envelopes: Sequence[Envelope]) -> set[UUID]:
    """As `claim`, for messages that are no replays; returns the ids of those that were claimed.

    They are claimed in the order of their ids, so that two workers that have the same messages do not deadlock.
    """
    rows = [_row(envelope, Status.SUCCEEDED, None) for envelope in sorted(envelopes, key=attrgetter("id"))]
    return {claimed for (claimed,) in run_rows(connection, f"{_INSERT}{_ONCE} returning id", rows)}


def release(connection: sa.Connection, envelope: Envelope) -> None:
    """Take back the claim: a step of the operation was done, not the last one."""
    connection.execute(operations.delete().where(operations.c.id == envelope.id))


def record_failure(connection: sa.Connection, envelope: Envelope, problem: dict[str, Any]) -> bool:
    """Write the operation as failed, unless it has a final outcome (see `claim`); returns whether it did."""
    return _write(connection, envelope, Status.FAILED, problem)


def cancel(connection: sa.Connection, envelope: Envelope, problem: dict[str, Any]) -> bool:
    """Write the operation as failed, unless it has an outcome; returns whether it did.

    It waits for a worker that is processing the message: whichever commits first decides. A message that is
    delivered later finds the row.
    """
    ended = run_rows(connection, _INSERT + _CANCEL_BOTH, [_row(envelope, Status.FAILED, problem)]).rowcount == 1
    if ended:
        _notify(connection, envelope.id)
    return ended


def reuse_of(operation_id: UUID, fingerprint: str) -> UUID:
    """The id of the row for the command with this fingerprint, if it came second under one Idempotency-Key.

    Without a time, as every id that is derived from a key: both rows are in the partition of those.
    """
    return UUID(int=uuid5(operation_id, fingerprint).int & _WITHOUT_TIME)


def record_reuse(connection: sa.Connection, envelope: Envelope) -> None:
    """Write the failure of a message whose operation is that of another body; nothing for a second delivery."""
    fingerprint = envelope.headers.fingerprint
    first = connection.scalar(sa.select(operations.c.fingerprint).where(operations.c.id == envelope.id))
    if fingerprint and fingerprint not in fingerprints_of(first):
        own = {"id": reuse_of(envelope.id, fingerprint), "cause": envelope.id}
        run_rows(connection, _INSERT + _UNLESS_KNOWN, [{**_row(envelope, Status.FAILED, {"code": REUSED}), **own}])


def turn_into_failures(connection: sa.Connection, problems: Mapping[UUID, dict[str, Any]]) -> None:
    """Turn claimed operations into failed ones, in the same transaction."""
    run_rows(connection, _FAIL, [{"id": one, "problem": problem} for one, problem in problems.items()])


def notify_waiting(connection: sa.Connection, *envelopes: Envelope) -> None:
    """Wake the API processes that wait for these operations, when the transaction commits."""
    for envelope in envelopes:
        if envelope.headers.waiting:
            _notify(connection, envelope.id)


def _notify(connection: sa.Connection, operation_id: UUID) -> None:
    run(connection, "select pg_notify(%(channel)s, %(id)s)", {"channel": CHANNEL, "id": str(operation_id)})


RETENTION = Retention(operations.c.finished_at, timedelta(days=30), partition_days=7)


def _write(connection: sa.Connection, envelope: Envelope, status: Status, problem: dict[str, Any] | None) -> bool:
    on_conflict = _OR_REPLAY if envelope.headers.replay else _ONCE
    return run_rows(connection, _INSERT + on_conflict, [_row(envelope, status, problem)]).rowcount == 1


def _row(envelope: Envelope, status: Status, problem: dict[str, Any] | None) -> dict[str, Any]:
    headers = envelope.headers
    return {
        "id": envelope.id,
        "name": envelope.name,
        "status": status,
        "problem": problem,
        "attempts": headers.attempts + 1,
        "fingerprint": headers.fingerprint or None,
        "resource": headers.resource or None,
        "request_id": headers.request_id or None,
        "actor": headers.actor,
        "cause": headers.cause,
        "spooled": headers.spooled,
        "address": envelope.address,
        "accepted_at": headers.accepted_at or None,
        "taken_at": envelope.taken and envelope.taken.at,
        "worker": envelope.taken and envelope.taken.worker,
    }
