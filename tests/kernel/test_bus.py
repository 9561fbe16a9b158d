"""The bus on PostgreSQL: a message is carried out once, whole or not at all, and its outcome is known."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from backend.kernel.delivery.bus import Bus, Unavailable
from uuid_utils.compat import uuid7

from backend.kernel.delivery import outbox
from backend.kernel.delivery.codec import Undecodable
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE, Envelope
from backend.kernel.delivery.sealing import Keyring
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command, SyncCommand
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Conflict
from backend.kernel.messages.registry import Handlers
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.faults import DatabaseAway
from tests.inline import InlineQueue


@dataclass(frozen=True)
class Noted(Event):
    note: str

    @property
    def subject(self) -> str:
        return self.note

    @classmethod
    def routing_key(cls) -> str:
        return "notes.noted.v1"


@dataclass(frozen=True)
class Write(Command):
    note: str


@dataclass(frozen=True)
class WriteNow(SyncCommand[int]):
    note: str


@dataclass(frozen=True)
class Guess(SyncCommand[None]):
    note: str


class NoteTaken(Conflict):
    """There is such a note."""


class WrongGuess(Conflict):
    """No."""

    keeps_effects = True


class Faulty(Exception):
    """Something that is nobody's fault."""


class Notes:
    """The notes of one unit of work, in a table."""

    def __init__(self, unit: UnitOfWork) -> None:
        self.unit = unit

    def add(self, note: str) -> None:
        with self.unit.refusing({"notes_pkey": NoteTaken}):
            self.unit.connection.execute(sa.text("insert into notes values (:note)"), {"note": note})
        aggregate = self.unit.track(Aggregate())
        aggregate.record(Noted(note))


handlers = Handlers[Notes]("notes")
listeners = Handlers[Notes]("listeners")


@handlers.on(Write)
def write(command: Write, notes: Notes) -> None:
    notes.add(command.note)
    if command.note == "fault":
        raise Faulty


@handlers.on(WriteNow)
def write_now(command: WriteNow, notes: Notes) -> int:
    notes.add(command.note)
    return len(command.note)


@handlers.on(Guess)
def guess(command: Guess, notes: Notes) -> None:
    notes.add(command.note)
    raise WrongGuess


@listeners.on(Noted)
def copy(event: Noted, notes: Notes) -> None:
    notes.unit.connection.execute(sa.text("insert into copies values (:note)"), {"note": event.note})


@pytest.fixture
def queue() -> Iterator[InlineQueue]:
    queue = InlineQueue()
    yield queue
    queue.close()


@pytest.fixture
def bus(clean_database: str, queue: InlineQueue) -> Iterator[Bus]:
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table if exists notes; drop table if exists copies")
        connection.execute("create table notes (note text primary key); create table copies (note text)")
    bus = Bus(Database(clean_database), queue, Keyring(["k" * 40]))
    bus.include(handlers, Notes)
    bus.include(listeners, Notes)
    queue.bus = bus
    yield bus
    queue.drain()
    bus.close()
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table notes; drop table copies")


def rows(bus: Bus, statement: str) -> list[Any]:
    return bus.database.read(lambda connection: connection.execute(statement.encode()).fetchall())


def message(note: str, message_id: UUID | None = None) -> Envelope:
    return Envelope(message_id or uuid7(), "notes.write", "notes.commands", {"note": note}, {"request_id": "r1"})


def test_a_message_is_carried_out_and_its_outcome_known(bus: Bus, queue: InlineQueue) -> None:
    envelope = message("a")
    bus.receive(envelope)
    outcome = bus.outcome_of(envelope.id)
    assert outcome is not None
    assert (outcome.status, outcome.name, outcome.request_id) == ("succeeded", "notes.write", "r1")
    assert rows(bus, "select note from notes") == [("a",)]


def test_a_message_delivered_again_is_carried_out_once(bus: Bus) -> None:
    envelope = message("a")
    bus.receive(envelope)
    bus.receive(envelope)
    assert rows(bus, "select note from notes") == [("a",)]


def test_a_message_delivered_to_many_workers_at_once_is_carried_out_once(bus: Bus, queue: InlineQueue) -> None:
    envelope = message("a")
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(bus.receive, [envelope] * 24))
    queue.drain()
    assert rows(bus, "select count(*) from notes") == [(1,)]
    assert rows(bus, "select note from copies") == [("a",)]
    assert len(queue.announced) == 1


def test_a_refusal_is_an_outcome_and_leaves_nothing_behind(bus: Bus) -> None:
    bus.receive(message("a"))
    again = message("a")
    bus.receive(again)
    outcome = bus.outcome_of(again.id)
    assert outcome is not None
    assert outcome.status == "failed"
    assert outcome.problem is not None
    assert outcome.problem["code"] == "note_taken"
    assert outcome.problem["request_id"] == "r1"


def test_a_fault_leaves_no_effect_and_no_outcome(bus: Bus, queue: InlineQueue) -> None:
    envelope = message("fault")
    with pytest.raises(Faulty):
        bus.receive(envelope)
    assert bus.outcome_of(envelope.id) is None
    assert rows(bus, "select note from notes") == []
    assert queue.announced == []


def test_a_message_given_up_is_a_failed_operation(bus: Bus) -> None:
    envelope = message("fault")
    bus.give_up(envelope)
    outcome = bus.outcome_of(envelope.id)
    assert outcome is not None
    assert outcome.problem is not None
    assert (outcome.status, outcome.problem["code"]) == ("failed", "internal_error")


def test_giving_up_does_not_undo_a_success(bus: Bus) -> None:
    envelope = message("a")
    bus.receive(envelope)
    bus.give_up(envelope)
    outcome = bus.outcome_of(envelope.id)
    assert outcome is not None
    assert outcome.status == "succeeded"


def test_an_unknown_message_and_one_that_does_not_fit_are_undecodable(bus: Bus) -> None:
    for envelope in (
        Envelope(uuid7(), "notes.unheard_of", "notes.commands", {}, {}),
        Envelope(uuid7(), "notes.write", "notes.commands", {"note": 5}, {}),
    ):
        with pytest.raises(Undecodable):
            bus.receive(envelope)


def test_an_event_reaches_its_subscribers_and_the_outside_world(bus: Bus, queue: InlineQueue) -> None:
    bus.receive(message("a"))
    queue.drain()
    assert rows(bus, "select note from copies") == [("a",)]
    ((routing_key, event),) = queue.announced
    assert routing_key == event["type"] == "notes.noted.v1"
    assert event["specversion"] == "1.0"
    assert (event["source"], event["subject"], event["data"]) == ("/notes", "a", {"note": "a"})
    assert event["time"].endswith("Z")
    assert rows(bus, "select count(*) from outbox") == [(0,)]


def test_events_written_while_the_broker_is_away_are_swept_up_in_order(bus: Bus, queue: InlineQueue) -> None:
    queue.down = True
    for note in ("a", "b", "c"):
        bus.receive(message(note))
    bus.relayed()
    assert queue.announced == []
    age_outbox(bus)
    queue.down = False
    assert bus.relay_leftovers() == 6
    queue.drain()
    assert [event["subject"] for _, event in queue.announced] == ["a", "b", "c"]
    assert sorted(rows(bus, "select note from copies")) == [("a",), ("b",), ("c",)]


def test_a_broker_that_is_slow_with_events_holds_up_no_message(
    bus: Bus, queue: InlineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, send_all = threading.Event(), queue.send_all

    def slow(envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        assert answers.wait(10)
        return send_all(envelopes, deadline)

    monkeypatch.setattr(queue, "send_all", slow)
    for note in ("a", "b"):
        bus.receive(message(note))
    assert queue.announced == []
    answers.set()
    bus.relayed()
    assert [event["subject"] for _, event in queue.announced] == ["a", "b"]


def test_a_message_that_ends_beside_the_worker_leaves_its_events_to_the_sweep(bus: Bus, queue: InlineQueue) -> None:
    bus.close()
    bus.receive(message("a"))
    assert queue.announced == []
    age_outbox(bus)
    assert bus.relay_leftovers() == 2
    assert [event["subject"] for _, event in queue.announced] == ["a"]


def test_what_one_queue_refuses_holds_up_what_follows_to_it_and_nothing_else(bus: Bus, queue: InlineQueue) -> None:
    told = [Envelope(uuid7(), name, EVENTS_EXCHANGE, {}, {}) for name in ("first", "second")]
    with bus.database.transaction() as connection:
        outbox.write(connection, [("x", one) for one in (message("a"), told[0], message("b"), told[1])])
    age_outbox(bus)
    queue.full = {"notes.commands"}
    assert bus.relay_leftovers() == 2
    assert [name for name, _ in queue.announced] == ["first", "second"]
    assert rows(bus, "select body ->> 'note' from outbox order by position") == [("a",), ("b",)]
    queue.full = set()
    assert bus.relay_leftovers() == 2
    assert [envelope.body["note"] for envelope in queue.sent[:2]] == ["a", "b"]


def test_sweeps_side_by_side_publish_each_event_once(bus: Bus, queue: InlineQueue) -> None:
    queue.down = True
    for number in range(40):
        bus.receive(message(str(number)))
    bus.relayed()
    age_outbox(bus)
    queue.down = False
    with ThreadPoolExecutor(6) as sweepers:
        swept = sum(sweepers.map(lambda _: bus.relay_leftovers(), range(6)))
    assert swept == 80
    assert len(queue.announced) == 40


def test_a_synchronous_command_answers_and_publishes_its_events(bus: Bus, queue: InlineQueue) -> None:
    assert bus.execute(WriteNow("abc")) == 3
    assert [key for key, _ in queue.announced] == ["notes.noted.v1"]


def test_an_aggregate_whose_events_somebody_else_is_publishing_costs_the_answer_nothing(
    bus: Bus, queue: InlineQueue
) -> None:
    with psycopg.connect(bus.database.url) as other:
        other.execute("select pg_advisory_xact_lock(hashtextextended('abc', 0))")
        assert bus.execute(WriteNow("abc")) == 3
    assert queue.announced == []
    age_outbox(bus)
    bus.relay_leftovers()
    assert [key for key, _ in queue.announced] == ["notes.noted.v1"]


def test_a_refusal_that_keeps_its_effects_does(bus: Bus) -> None:
    with pytest.raises(WrongGuess):
        bus.execute(Guess("counted"))
    assert rows(bus, "select note from notes") == [("counted",)]


def test_a_command_goes_to_the_broker_under_its_operations_id(bus: Bus, queue: InlineQueue) -> None:
    operation_id = uuid7()
    context = current_origin.set(Origin(request_id="r7", actor=UUID(int=7), traceparent="00-1-2-01"))
    accepted = bus.dispatch(Write("a"), operation_id)
    current_origin.reset(context)
    (sent,) = queue.sent
    assert accepted.way == "broker"
    assert (sent.id, sent.name, sent.queue, sent.body) == (operation_id, "notes.write", "notes.commands", {"note": "a"})
    assert sent.headers["request_id"] == "r7"
    assert sent.headers["actor"] == str(UUID(int=7))
    assert sent.headers["traceparent"] == "00-1-2-01"


def test_a_command_is_spooled_while_the_broker_is_away_and_carried_out_later(bus: Bus, queue: InlineQueue) -> None:
    queue.down = True
    operation_id = uuid7()
    assert bus.dispatch(Write("a"), operation_id).way == "spool"
    assert bus.outcome_of(operation_id) is None
    age_outbox(bus)
    queue.down = False
    bus.relay_leftovers()
    queue.drain()
    outcome = bus.outcome_of(operation_id)
    assert outcome is not None
    assert outcome.status == "succeeded"


def test_a_command_that_nobody_can_take_is_not_accepted() -> None:
    queue = InlineQueue()
    queue.down = True
    bus = Bus(Database("postgresql://127.0.0.1:1/none"), queue, Keyring(["k" * 40]), publish_deadline=0.5)
    bus.include(handlers, Notes)
    with pytest.raises(Unavailable):
        bus.dispatch(Write("a"), uuid7())
    bus.close()


def test_a_message_waits_for_a_database_that_is_away() -> None:
    bus = Bus(Database("postgresql://127.0.0.1:1/none"), InlineQueue(), Keyring(["k" * 40]))
    bus.include(handlers, Notes)
    with pytest.raises(DatabaseAway):
        bus.receive(message("a"))


def test_outcomes_past_their_retention_are_purged_in_batches(bus: Bus) -> None:
    old, young = message("old"), message("young")
    for envelope in (old, young):
        bus.receive(envelope)
    with bus.database.transaction() as connection:
        connection.execute(
            sa.text("update operations set finished_at = now() - interval '31 days' where id = :id"), {"id": old.id}
        )
    bus.purge(batch=1)
    assert bus.outcome_of(old.id) is None
    assert bus.outcome_of(young.id) is not None


def age_outbox(bus: Bus) -> None:
    """Make the outbox's rows old enough to count as left over."""
    with bus.database.transaction() as connection:
        connection.execute(sa.text("update outbox set created_at = created_at - interval '1 minute'"))
