"""A timeline of everything that a request caused, from what PostgreSQL has stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from backend.kernel.delivery.dead_letters import dead_letters
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE
from backend.kernel.delivery.inbox import operations
from backend.kernel.delivery.outbox import outbox
from backend.kernel.delivery.retries import retries
from backend.kernel.delivery.timers import timers
from backend.kernel.observe import workers
from backend.kernel.observe.audit import audit_log
from backend.kernel.postgres.statements import driver_of

_NOT_KEPT = """\
not stored: redeliveries after a crash, when a message was published, \
and events for the outside world once they are published"""
_NOTHING = "nothing is stored under that id; messages that are still in the broker are not visible here"
_NOTHING_YET = """\
no outcome: the operation waits in the broker or is being processed, or it was never accepted here, \
or its 30 days are over"""


@dataclass(frozen=True)
class Step:
    """One step of a timeline.

    Attributes:
        what: the kind of step.
        subject: the message, mail or action it is about.
        detail: other details, in words.
    """

    at: datetime
    what: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Trace:
    """The timeline of a request.

    Attributes:
        steps: in the order of their times.
        unknown: what is not visible here, in words.
    """

    request_ids: tuple[str, ...]
    steps: tuple[Step, ...]
    unknown: str


@dataclass(frozen=True)
class Wanted:
    """The requests of a timeline: every one that the id names."""

    request_ids: tuple[str, ...]
    operation_id: UUID | None


StepsOf = Callable[[sa.Connection, Wanted], Iterable[Step]]
"""A context's part of a timeline."""


def trace(
    connection: sa.Connection, request_id: str, operation_id: UUID | None, contexts: Iterable[StepsOf] = ()
) -> Trace:
    """The timeline of a request, named by its own id or by that of one of its operations.

    Args:
        contexts: the contexts' parts of it.
    """
    request_ids = _requests_of(connection, operation_id) or [request_id]
    return trace_of(connection, request_ids, operation_id, contexts)


def trace_of(
    connection: sa.Connection, request_ids: list[str], operation_id: UUID | None, contexts: Iterable[StepsOf] = ()
) -> Trace:
    """The timeline of these requests."""
    wanted = Wanted(tuple(request_ids), operation_id)
    finished = connection.execute(
        sa.select(operations).where(_either(operations.c.id, operations.c.request_id, operation_id, request_ids))
    ).all()
    waiting = connection.execute(
        sa.select(outbox).where(_either(outbox.c.id, outbox.c.headers["request_id"].astext, operation_id, request_ids))
    ).all()
    later = connection.execute(
        sa.select(timers).where(_either(timers.c.id, timers.c.headers["request_id"].astext, operation_id, request_ids))
    ).all()
    delayed = connection.execute(
        sa.select(retries).where(_either(retries.c.id, retries.c.request_id, operation_id, request_ids))
    ).all()
    dead = connection.execute(
        sa.select(dead_letters).where(
            _either(dead_letters.c.message_id, dead_letters.c.request_id, operation_id, request_ids)
        )
    ).all()
    audited = connection.execute(sa.select(audit_log).where(audit_log.c.request_id.in_(request_ids))).all()
    steps = (
        *(step for row in finished for step in _of_operation(row)),
        *(_of_waiting(row) for row in waiting),
        *(_of_delayed(row) for row in delayed),
        *(_of_timer(row) for row in later),
        *_at_work(connection, operation_id),
        *(_of_dead_letter(row) for row in dead),
        *(_of_entry(row) for row in audited),
        *(step for steps_of in contexts for step in steps_of(connection, wanted)),
    )
    if steps:
        return Trace(tuple(request_ids), tuple(sorted(steps, key=lambda step: step.at)), _NOT_KEPT)
    return Trace((), (), _NOTHING_YET if operation_id else _NOTHING)


def _requests_of(connection: sa.Connection, operation_id: UUID | None) -> list[str]:
    found = sa.union(
        sa.select(operations.c.request_id).where(operations.c.id == operation_id),
        sa.select(dead_letters.c.request_id).where(dead_letters.c.message_id == operation_id),
        sa.select(outbox.c.headers["request_id"].astext).where(outbox.c.id == operation_id),
        sa.select(retries.c.request_id).where(retries.c.id == operation_id),
        sa.select(timers.c.headers["request_id"].astext).where(timers.c.id == operation_id),
    )
    return [name for name in connection.scalars(found) if name]


def _either(
    message_id: sa.ColumnElement[UUID],
    request_id: sa.ColumnElement[Any],
    operation_id: UUID | None,
    request_ids: list[str],
) -> sa.ColumnElement[bool]:
    return sa.or_(message_id == operation_id, request_id.in_(request_ids))


def _of_operation(row: Any) -> Iterator[Step]:
    if row.accepted_at is not None:
        if row.cause is None:
            way = "spooled: the broker was away" if row.spooled else "published to the broker"
            yield Step(row.accepted_at, "accepted", row.name, f"{row.id} · actor {row.actor or 'anonymous'} · {way}")
        else:
            yield Step(row.accepted_at, "event", row.name, f"{row.id} · written by {row.cause}")
    if row.taken_at is not None:
        yield Step(row.taken_at, "taken", row.name, f"{row.id} · by {row.worker}")
    code = f" · {row.problem['code']}" if row.problem else ""
    yield Step(row.finished_at, row.status, row.name, f"{row.id} · attempt {row.attempts}{code}")


def _of_waiting(row: Any) -> Step:
    kind = "for the world" if row.queue == EVENTS_EXCHANGE else f"for {row.queue}"
    return Step(row.created_at, "in outbox", row.name, f"{row.id} · waits to be published, {kind}")


def _of_timer(row: Any) -> Step:
    if row.due_at <= datetime.now(UTC):
        detail = f"{row.id} · until operators resume {row.name} · lane {row.queue}"
        return Step(row.due_at, "waits", row.name, detail)
    return Step(row.due_at, "due", row.name, f"{row.id} · waits until then, for {row.queue}")


def _at_work(connection: sa.Connection, operation_id: UUID | None) -> Iterator[Step]:
    """What a worker is doing with it now, as of its last report."""
    for worker in workers.alive(driver_of(connection)) if operation_id else ():
        for one in worker.busy:
            if one.get("id") == str(operation_id):
                since = datetime.fromisoformat(one["since"])
                yield Step(since, "in progress", one["task"], f"{operation_id} · by {worker.name}")


def _of_delayed(row: Any) -> Step:
    next_try = row.next_try_at.astimezone(UTC).strftime("%H:%M:%SZ")
    detail = f"{row.id} · {row.reason} · tried {row.tries}x · next try about {next_try} · lane {row.lane}"
    return Step(row.since, "waits", row.name, detail)


def _of_entry(row: Any) -> Step:
    concerned = " ".join(str(one) for one in (row.about, row.detail) if one) or "-"
    why = f" · {row.reason}" if row.reason else ""
    return Step(row.at, "audited", row.action, f"{row.outcome} · about {concerned}{why}")


def _of_dead_letter(row: Any) -> Step:
    error = row.traceback[0]["type"] if row.traceback else row.error
    why = f"{row.reason} · {error}" if error else row.reason
    detail = f"{row.message_id} · {why} · failed {row.times}x · {row.status} · dead letter {row.id}"
    return Step(row.last_dead_at, "dead letter", row.task, detail)
