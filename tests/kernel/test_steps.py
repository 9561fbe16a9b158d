"""Commands of several steps, with a transaction for each: they go on whatever happens in between, and end once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command, Progress
from backend.kernel.messages.registry import Handlers
from backend.program import Process
from tests.inline import InlineQueue

STEPS = 4
handlers = Handlers[UnitOfWork]("climbing")


@dataclass(frozen=True)
class Climb(Command):
    """Climb some steps."""


@handlers.on(Climb)
def climb(command: Climb, unit: UnitOfWork) -> Progress:
    row = unit.connection.exec_driver_sql("update climbed set steps = steps + 1 returning steps").one()
    return Progress(row.steps, STEPS, 0)


class QuickQueue(InlineQueue):
    """Its worker has processed a message before the broker confirms it to the one who sent it."""

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        if self.process is None:
            raise AssertionError("set QuickQueue.process first")
        for envelope in envelopes:
            self.process.receiver.receive(envelope)
        return {envelope.id for envelope in envelopes}


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (Context("climbing", handlers, lambda _resources, unit: unit),)


@pytest.fixture(autouse=True)
def climbed(clean_database: str) -> Iterator[None]:
    with psycopg.connect(clean_database, autocommit=True) as connection:
        connection.execute("create table climbed (steps integer)")
        connection.execute("insert into climbed values (0)")
        yield
        connection.execute("drop table climbed")


def steps(process: Process) -> int:
    (count,) = process.resources.database.read(lambda one: one.execute("select steps from climbed").fetchone()) or (0,)
    return int(count)


def succeeded(process: Process, message: Envelope) -> bool:
    outcome = process.bus.outcome_of(message.id)
    return outcome is not None and outcome.status == "succeeded"


@pytest.fixture
def message(process: Process) -> Envelope:
    return process.resources.codec.of_command(Climb(), uuid7())


def test_a_worker_that_dies_between_two_steps_is_replaced(
    process: Process, queue: InlineQueue, message: Envelope
) -> None:
    queue.down = True  # the worker dies after its commit: it publishes nothing
    process.receiver.receive(message)
    process.relay.wait()
    assert (steps(process), succeeded(process, message)) == (1, False)
    queue.down = False
    queue.sweep()
    assert (steps(process), succeeded(process, message)) == (STEPS, True)


def test_a_message_that_is_delivered_again_after_the_end_does_nothing(
    process: Process, queue: InlineQueue, message: Envelope
) -> None:
    process.receiver.receive(message)
    queue.drain()
    process.receiver.receive(message)
    assert (steps(process), succeeded(process, message)) == (STEPS, True)


@pytest.mark.parametrize("queue", [QuickQueue()], ids=["quick"])
def test_a_step_that_ends_before_the_step_before_it_is_confirmed_is_followed_by_the_next(
    process: Process, message: Envelope
) -> None:
    process.receiver.receive(message)
    process.relay.wait()
    assert (steps(process), succeeded(process, message)) == (STEPS, True)
