"""What the bus makes of each class of failure in PostgreSQL: try at once, wait for the database, or a fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest
import sqlalchemy as sa
from backend.kernel.delivery.bus import Bus
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.sealing import Keyring
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.faults import DatabaseAway
from tests.inline import InlineQueue

Deed = Callable[[sa.Connection, int], None]
"""What a try does, given its number from 1."""


@dataclass(frozen=True)
class Do(Command):
    deed: str


class Script:
    """The deeds of a test, by name, and how often each was tried."""

    def __init__(self, **deeds: Deed) -> None:
        self._deeds = deeds
        self.tries = dict.fromkeys(deeds, 0)

    def do(self, unit: UnitOfWork, deed: str) -> None:
        self.tries[deed] += 1
        self._deeds[deed](unit.connection, self.tries[deed])


@pytest.fixture
def carried_out(clean_database: str) -> Iterator[Callable[[Script], Bus]]:
    buses = []

    def build(script: Script) -> Bus:
        handlers = Handlers[UnitOfWork]("scripts")

        @handlers.on(Do)
        def do(command: Do, unit: UnitOfWork) -> None:
            script.do(unit, command.deed)

        bus = Bus(Database(clean_database), InlineQueue(), Keyring(["k" * 40]))
        bus.include(handlers, lambda unit: unit)
        buses.append(bus)
        return bus

    yield build
    for bus in buses:
        bus.close()


def message(deed: str) -> Envelope:
    return Envelope(uuid7(), "scripts.do", "scripts.commands", {"deed": deed}, {})


def raising(state: str, tries: int) -> Deed:
    """Fail with that SQLSTATE, the first `tries` times."""
    statement = f"do $$ begin raise exception 'made up' using errcode = '{state}'; end $$"

    def deed(connection: sa.Connection, number: int) -> None:
        if number <= tries:
            connection.execute(sa.text(statement))

    return deed


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_lost_conflict_is_tried_again_at_once(carried_out: Callable[[Script], Bus], state: str) -> None:
    script = Script(lose=raising(state, tries=3))
    bus, envelope = carried_out(script), message("lose")
    bus.receive(envelope)
    outcome = bus.outcome_of(envelope.id)
    assert outcome is not None
    assert (outcome.status, script.tries) == ("succeeded", {"lose": 4})


def test_a_conflict_that_is_always_lost_is_a_fault_after_a_few_tries(carried_out: Callable[[Script], Bus]) -> None:
    script = Script(lose=raising("40001", tries=100))
    with pytest.raises(DBAPIError):
        carried_out(script).receive(message("lose"))
    assert script.tries == {"lose": 5}


def test_two_messages_in_a_deadlock_are_both_carried_out(carried_out: Callable[[Script], Bus]) -> None:
    both_hold_one = threading.Barrier(2)

    def locking(first: int, second: int) -> Deed:
        def deed(connection: sa.Connection, number: int) -> None:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(first)))
            if number == 1:
                both_hold_one.wait()
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(second)))

        return deed

    script = Script(there=locking(1, 2), back=locking(2, 1))
    bus, envelopes = carried_out(script), [message("there"), message("back")]
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(bus.receive, envelopes))
    assert [outcome.status for one in envelopes if (outcome := bus.outcome_of(one.id))] == ["succeeded"] * 2
    assert sum(script.tries.values()) == 3


def too_slow(connection: sa.Connection, number: int) -> None:
    connection.execute(sa.text("set local statement_timeout = '10ms'"))
    connection.execute(sa.text("select pg_sleep(60)"))


@pytest.mark.parametrize("deed", [too_slow, raising("55P03", tries=100), raising("57014", tries=100)])
def test_a_statement_or_a_lock_that_takes_too_long_is_a_fault(carried_out: Callable[[Script], Bus], deed: Deed) -> None:
    script = Script(wait=deed)
    bus, envelope = carried_out(script), message("wait")
    with pytest.raises(DBAPIError):
        bus.receive(envelope)
    assert script.tries == {"wait": 1}
    assert bus.outcome_of(envelope.id) is None


def test_a_lock_that_somebody_holds_is_waited_for_no_longer_than_its_timeout(
    carried_out: Callable[[Script], Bus], clean_database: str
) -> None:
    def lock(connection: sa.Connection, number: int) -> None:
        connection.execute(sa.text("set local lock_timeout = '10ms'"))
        connection.execute(sa.text("lock table operations in access exclusive mode"))

    bus = carried_out(Script(lock=lock))
    with psycopg.connect(clean_database) as holder:
        holder.execute("lock table operations in share update exclusive mode")
        with pytest.raises(DBAPIError):
            bus.receive(message("lock"))


def test_a_connection_that_is_cut_means_that_the_database_is_away(carried_out: Callable[[Script], Bus]) -> None:
    def cut(connection: sa.Connection, number: int) -> None:
        if number == 1:
            connection.execute(sa.select(sa.func.pg_terminate_backend(sa.func.pg_backend_pid())))

    script = Script(cut=cut)
    bus, envelope = carried_out(script), message("cut")
    with pytest.raises(DatabaseAway):
        bus.receive(envelope)
    assert bus.outcome_of(envelope.id) is None
    bus.receive(envelope)
    outcome = bus.outcome_of(envelope.id)
    assert outcome is not None
    assert (outcome.status, script.tries) == ("succeeded", {"cut": 2})
