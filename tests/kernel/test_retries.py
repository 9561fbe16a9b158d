"""What the bus makes of each class of failure in PostgreSQL: try at once, wait for the database, or a fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psycopg
import pytest
import sqlalchemy as sa
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers
from backend.kernel.postgres.faults import DatabaseAway, TransactionAborted
from backend.program import Process

Deed = Callable[[sa.Connection, int], None]
"""What a try does, given its number from 1."""


@dataclass(frozen=True)
class Do(Command):
    deed: str


@dataclass
class Script:
    """The deeds of a test, by name, and how often each was tried."""

    deeds: dict[str, Deed] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)

    def do(self, connection: sa.Connection, deed: str) -> None:
        self.tries[deed] = self.tries.get(deed, 0) + 1
        self.deeds[deed](connection, self.tries[deed])


@dataclass(frozen=True)
class Ports:
    unit: UnitOfWork
    script: Script


handlers = Handlers[Ports]("scripts")


@handlers.on(Do)
def do(command: Do, ports: Ports) -> None:
    ports.script.do(ports.unit.connection, command.deed)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def contexts(script: Script) -> Sequence[AnyContext]:
    return (Context("scripts", handlers, lambda _resources, unit: Ports(unit, script)),)


def message(process: Process, deed: str) -> Envelope:
    return process.resources.codec.of_command(Do(deed), uuid7())


def raising(state: str, tries: int) -> Deed:
    """Fail with that SQLSTATE, the first `tries` times."""
    statement = f"do $$ begin raise exception 'made up' using errcode = '{state}'; end $$"

    def deed(connection: sa.Connection, number: int) -> None:
        if number <= tries:
            connection.execute(sa.text(statement))

    return deed


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_lost_conflict_is_tried_again_at_once(script: Script, process: Process, state: str) -> None:
    script.deeds["lose"] = raising(state, tries=3)
    envelope = message(process, "lose")
    process.receiver.receive(envelope)
    outcome = process.bus.outcome_of(envelope.id)
    assert outcome is not None
    assert (outcome.status, script.tries) == ("succeeded", {"lose": 4})


def test_a_conflict_that_is_always_lost_is_left_to_a_later_delivery_after_a_few_tries(
    script: Script, process: Process
) -> None:
    script.deeds["lose"] = raising("40001", tries=100)
    with pytest.raises(TransactionAborted):
        process.receiver.receive(message(process, "lose"))
    assert script.tries == {"lose": 5}


def test_two_messages_in_a_deadlock_are_both_carried_out(script: Script, process: Process) -> None:
    both_hold_one = threading.Barrier(2)

    def locking(first: int, second: int) -> Deed:
        def deed(connection: sa.Connection, number: int) -> None:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(first)))
            if number == 1:
                both_hold_one.wait()
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(second)))

        return deed

    script.deeds |= {"there": locking(1, 2), "back": locking(2, 1)}
    envelopes = [message(process, "there"), message(process, "back")]
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(process.receiver.receive, envelopes))
    assert [outcome.status for one in envelopes if (outcome := process.bus.outcome_of(one.id))] == ["succeeded"] * 2
    assert sum(script.tries.values()) == 3


def too_slow(connection: sa.Connection, number: int) -> None:
    connection.execute(sa.text("set local statement_timeout = '10ms'"))
    connection.execute(sa.text("select pg_sleep(60)"))


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (too_slow, TransactionAborted),
        (raising("55P03", tries=100), DatabaseAway),
        (raising("57014", tries=100), TransactionAborted),
    ],
)
def test_a_statement_or_a_lock_that_takes_too_long_is_waited_for(
    script: Script, process: Process, deed: Deed, reason: type[DatabaseAway]
) -> None:
    """Somebody else holds the lock, or the server is busy: nothing is wrong with the message."""
    script.deeds["wait"] = deed
    envelope = message(process, "wait")
    with pytest.raises(DatabaseAway) as raised:
        process.receiver.receive(envelope)
    assert type(raised.value) is reason
    assert script.tries == {"wait": 1}
    assert process.bus.outcome_of(envelope.id) is None


def test_a_lock_that_somebody_holds_is_waited_for_no_longer_than_its_timeout(
    script: Script, process: Process, clean_database: str
) -> None:
    def lock(connection: sa.Connection, number: int) -> None:
        connection.execute(sa.text("set local lock_timeout = '10ms'"))
        connection.execute(sa.text("lock table operations in access exclusive mode"))

    script.deeds["lock"] = lock
    with psycopg.connect(clean_database) as holder:
        holder.execute("lock table operations in share update exclusive mode")
        with pytest.raises(DatabaseAway):
            process.receiver.receive(message(process, "lock"))


def test_a_connection_that_is_cut_means_that_the_database_is_away(script: Script, process: Process) -> None:
    def cut(connection: sa.Connection, number: int) -> None:
        if number == 1:
            connection.execute(sa.select(sa.func.pg_terminate_backend(sa.func.pg_backend_pid())))

    script.deeds["cut"] = cut
    envelope = message(process, "cut")
    with pytest.raises(DatabaseAway):
        process.receiver.receive(envelope)
    assert process.bus.outcome_of(envelope.id) is None
    process.receiver.receive(envelope)
    outcome = process.bus.outcome_of(envelope.id)
    assert outcome is not None
    assert (outcome.status, script.tries) == ("succeeded", {"cut": 2})
