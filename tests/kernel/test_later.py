"""Commands that are processed later, and what is done about a command that is given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from msgspec import structs
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery import timers
from backend.kernel.delivery.codec import Expired
from backend.kernel.delivery.dead_letters import Reason
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers
from backend.program import Process, Program
from backend.settings import Settings
from tests.inline import InlineQueue


@dataclass(frozen=True)
class Reserve(Command):
    seat: str
    pay: bool = True


@dataclass(frozen=True)
class Expire(Command):
    seat: str


class NoPayment(Exception):
    """The payment service does not answer."""


handlers = Handlers[UnitOfWork]("seats")


@handlers.on(Reserve, attempts=3, limit=600, backoff=(1, 5))
def reserve(command: Reserve, unit: UnitOfWork) -> None:
    _note(unit, "reserved", command.seat)
    unit.later(Expire(command.seat), timedelta(minutes=15))
    if not command.pay:
        raise NoPayment


@handlers.on_given_up(Reserve)
def release(command: Reserve, unit: UnitOfWork) -> None:
    _note(unit, "released", command.seat)
    if command.seat == "stuck":
        raise NoPayment


@handlers.on(Expire)
def expire(command: Expire, unit: UnitOfWork) -> None:
    _note(unit, "expired", command.seat)


def _note(unit: UnitOfWork, what: str, seat: str) -> None:
    unit.connection.execute(sa.text("insert into seats values (:what, :seat)"), {"what": what, "seat": seat})


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (Context("seats", handlers, lambda _resources, unit: unit),)


@pytest.fixture
def seats(clean_database: str) -> Iterator[Callable[[], list[Any]]]:
    with psycopg.connect(clean_database, autocommit=True) as connection:
        connection.execute("create table seats (what text, seat text)")
        yield lambda: connection.execute("select what, seat from seats").fetchall()
        connection.execute("drop table seats")


@pytest.fixture
def due(clean_database: str) -> Callable[[], None]:
    """Let a quarter of an hour pass."""

    def pass_by() -> None:
        with psycopg.connect(clean_database) as connection:
            connection.execute("update timers set due_at = due_at - interval '15 minutes'")

    return pass_by


def test_a_command_for_later_is_processed_once_it_is_due(
    process: Process, queue: InlineQueue, seats: Callable[[], list[Any]], due: Callable[[], None]
) -> None:
    process.bus.dispatch(Reserve("1A"), uuid7())
    queue.drain()
    queue.sweep()
    assert seats() == [("reserved", "1A")]

    due()
    queue.sweep()
    queue.sweep()

    assert seats() == [("reserved", "1A"), ("expired", "1A")]


@pytest.mark.usefixtures("seats")
def test_a_command_for_later_counts_as_accepted_when_it_is_due(process: Process, queue: InlineQueue) -> None:
    """Of writes to one field the last wins, and metrics do not take its delay for a wait in the lane."""
    process.bus.dispatch(Reserve("1A"), uuid7())
    queue.drain()
    ((headers,),) = process.resources.database.read(
        lambda primary: primary.execute("select headers from timers").fetchall()
    )
    reserved_at = datetime.fromisoformat(queue.sent[0].headers.accepted_at)
    assert datetime.fromisoformat(headers["accepted_at"]) - reserved_at >= timedelta(minutes=15)


@pytest.mark.usefixtures("seats")
def test_the_sweep_moves_one_batch_at_a_time_whatever_plan_postgresql_makes(
    process: Process, settings: Settings, queue: InlineQueue, due: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subquery that locks and has a limit may run once for each row: then all rows are moved at once."""
    monkeypatch.setattr(timers, "BATCH", 2)
    for number in range(5):
        process.bus.dispatch(Reserve(f"{number}A"), uuid7())
    queue.drain()
    due()
    options = " ".join(f"-c enable_{plan}=off" for plan in ("hashagg", "sort", "hashjoin", "mergejoin", "material"))
    joint = "&" if "?" in settings.database_url else "?"
    planned = replace(settings, database_url=f"{settings.database_url}{joint}options={quote(options)}")
    another = Program(planned).process(queue)

    moved = [timers.move_due(another.resources.database) for _ in range(4)]

    another.close()
    assert moved == [2, 2, 1, 0]


def test_nothing_is_left_for_later_of_what_was_undone(
    process: Process, seats: Callable[[], list[Any]], due: Callable[[], None]
) -> None:
    message = _posted(process, Reserve("1A", pay=False))
    with pytest.raises(NoPayment):
        process.receiver.receive(message)
    due()
    process.sweep()
    assert seats() == []


def test_what_was_reserved_is_released_when_the_command_is_given_up_once(
    process: Process, seats: Callable[[], list[Any]]
) -> None:
    message = _posted(process, Reserve("1A", pay=False))
    for _ in range(2):  # its copy in the dead-letter queue is recorded as well
        process.receiver.give_up(message, Reason.FAULT, NoPayment())
    assert seats() == [("released", "1A")]
    outcome = process.bus.outcome_of(message.id)
    assert outcome is not None
    assert outcome.status == "failed"


def test_a_recorded_copy_releases_nothing_when_it_is_given_up(process: Process, seats: Callable[[], list[Any]]) -> None:
    """The inbox has forgotten whether the message took effect."""
    message = _posted(process, Reserve("1A"))
    long_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    headers = structs.replace(message.headers, accepted_at=long_ago)
    recorded = process.resources.sealer.signed(replace(message, headers=headers))
    process.receiver.give_up(recorded, Reason.EXPIRED, Expired())
    assert seats() == []


def test_a_release_that_fails_keeps_no_dead_letter_away(process: Process, seats: Callable[[], list[Any]]) -> None:
    message = _posted(process, Reserve("stuck", pay=False))
    process.receiver.give_up(message, Reason.FAULT, NoPayment())
    assert seats() == []
    dead = process.resources.database.read(lambda primary: primary.execute("select task from dead_letters").fetchall())
    assert dead == [("seats.reserve",)]


def test_a_handler_has_attempts_pauses_and_a_limit_of_its_own(process: Process) -> None:
    handler = process.registry.by_name["seats.reserve"]
    assert (handler.attempts, handler.limit) == (3, 600)
    assert [handler.pause_after(attempts) for attempts in (1, 2, 3, 9)] == [1, 5, 5, 5]


def _posted(process: Process, command: Command) -> Envelope:
    """The message as it lies in its lane: the test itself is the worker."""
    return process.resources.codec.of_command(command, uuid7())
