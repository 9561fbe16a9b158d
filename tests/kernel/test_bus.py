"""The bus on PostgreSQL: a message is carried out once, whole or not at all, and its outcome is known."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery import outbox
from backend.kernel.delivery.codec import Undecodable
from backend.kernel.delivery.dispatch import Unavailable, Way
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE, Envelope, Headers
from backend.kernel.delivery.sealing import Forged
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command, SyncCommand
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Conflict
from backend.kernel.messages.registry import Handlers
from backend.kernel.postgres.faults import DatabaseAway
from backend.program import Process, Program
from tests.inline import InlineQueue
from tests.settings import settings_with


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
class Scribble(Command):
    """What anybody may write, without signing in."""

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
witnesses = Handlers[Notes]("witnesses")


@handlers.on(Write)
def write(command: Write, notes: Notes) -> None:
    notes.add(command.note)
    if command.note == "fault":
        raise Faulty


@handlers.on(Scribble, anonymous=True)
def scribble(command: Scribble, notes: Notes) -> None:
    notes.add(command.note)


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


@witnesses.within(Noted)
def bear_witness(event: Noted, notes: Notes) -> None:
    if event.note == "unbelievable":
        raise Faulty
    notes.unit.connection.execute(sa.text("insert into witnessed values (:note)"), {"note": event.note})


CONTEXTS = (
    Context("notes", handlers, lambda _resources, unit: Notes(unit)),
    Context("listeners", listeners, lambda _resources, unit: Notes(unit)),
    Context("witnesses", witnesses, lambda _resources, unit: Notes(unit)),
)


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return CONTEXTS


@pytest.fixture(autouse=True)
def _tables(clean_database: str) -> Iterator[None]:
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table if exists notes, copies, witnessed")
        connection.execute("create table notes (note text primary key)")
        connection.execute("create table copies (note text); create table witnessed (note text)")
    yield
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table notes, copies, witnessed")


def rows(process: Process, statement: str) -> list[Any]:
    return process.bus.database.read(lambda connection: connection.execute(statement.encode()).fetchall())


def message(process: Process, body: object, name: str = "notes.write", **more: Any) -> Envelope:
    headers = Headers("r1", accepted_at=datetime.now(UTC).isoformat(), **more)
    envelope = Envelope(uuid7(), name, "notes.commands", {"note": body}, headers)
    return process.resources.sealer.signed(envelope)


def test_a_message_is_carried_out_and_its_outcome_known(process: Process) -> None:
    envelope = message(process, "a")
    process.receiver.receive(envelope)
    outcome = process.bus.outcome_of(envelope.id)
    assert outcome is not None
    assert (outcome.status, outcome.name, outcome.request_id) == ("succeeded", "notes.write", "r1")
    assert rows(process, "select note from notes") == [("a",)]


@pytest.mark.parametrize("headers", [{}, {"waiting": True}, {"fingerprint": "f"}])
def test_a_message_delivered_again_is_carried_out_once(process: Process, headers: dict[str, Any]) -> None:
    envelope = message(process, "a", **headers)
    process.receiver.receive(envelope)
    process.receiver.receive(envelope)
    assert rows(process, "select note from notes") == [("a",)]
    assert rows(process, "select status from operations where name = 'notes.write'") == [("succeeded",)]


def test_a_message_delivered_to_many_workers_at_once_is_carried_out_once(process: Process, queue: InlineQueue) -> None:
    envelope = message(process, "a")
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(process.receiver.receive, [envelope] * 24))
    queue.drain()
    assert rows(process, "select count(*) from notes") == [(1,)]
    assert rows(process, "select note from copies") == [("a",)]
    assert len(queue.announced) == 1


def test_a_refusal_is_an_outcome_and_leaves_nothing_behind(process: Process) -> None:
    process.receiver.receive(message(process, "a"))
    again = message(process, "a")
    process.receiver.receive(again)
    outcome = process.bus.outcome_of(again.id)
    assert outcome is not None
    assert outcome.status == "failed"
    assert outcome.problem is not None
    assert outcome.problem["code"] == "note_taken"
    assert outcome.problem["request_id"] == "r1"


def test_a_fault_leaves_no_effect_and_no_outcome(process: Process, queue: InlineQueue) -> None:
    envelope = message(process, "fault")
    with pytest.raises(Faulty):
        process.receiver.receive(envelope)
    assert process.bus.outcome_of(envelope.id) is None
    assert rows(process, "select note from notes") == []
    assert queue.announced == []


def test_a_message_given_up_is_a_failed_operation(process: Process) -> None:
    envelope = message(process, "fault")
    process.receiver.give_up(envelope)
    outcome = process.bus.outcome_of(envelope.id)
    assert outcome is not None
    assert outcome.problem is not None
    assert (outcome.status, outcome.problem["code"]) == ("failed", "internal_error")


def test_giving_up_does_not_undo_a_success(process: Process) -> None:
    envelope = message(process, "a")
    process.receiver.receive(envelope)
    process.receiver.give_up(envelope)
    outcome = process.bus.outcome_of(envelope.id)
    assert outcome is not None
    assert outcome.status == "succeeded"


def test_what_proves_no_author_is_neither_signed_after_a_fault_nor_given_up(process: Process) -> None:
    """The fault may have come before its author was asked for."""
    genuine = message(process, "a")
    forged = replace(genuine, body={"note": "b"})
    for act in (process.receiver.failed_again, process.receiver.timed_out_again, process.receiver.give_up):
        with pytest.raises(Forged):
            act(forged)
    assert process.bus.outcome_of(genuine.id) is None
    assert rows(process, "select from dead_letters") == []


def test_an_unknown_message_and_one_that_does_not_fit_are_undecodable(process: Process) -> None:
    for envelope in (message(process, "a", name="notes.unheard_of"), message(process, 5)):
        with pytest.raises(Undecodable):
            process.receiver.receive(envelope)


def test_an_event_reaches_its_subscribers_and_the_outside_world(process: Process, queue: InlineQueue) -> None:
    process.receiver.receive(message(process, "a"))
    queue.drain()
    assert rows(process, "select note from copies") == [("a",)]
    ((routing_key, event),) = queue.announced
    assert routing_key == event["type"] == "notes.noted.v1"
    assert event["specversion"] == "1.0"
    assert (event["source"], event["subject"], event["data"]) == ("/notes", "a", {"note": "a"})
    assert event["time"].endswith("Z")
    assert rows(process, "select count(*) from outbox") == [(0,)]


def test_who_acts_in_the_transaction_of_an_event_has_acted_when_it_is_committed(process: Process) -> None:
    process.receiver.receive(message(process, "a"))
    process.bus.execute(WriteNow("b"))
    with pytest.raises(WrongGuess):
        process.bus.execute(Guess("c"))
    assert rows(process, "select note from witnessed") == [("a",), ("b",), ("c",)]


def test_a_fault_of_who_acts_in_the_transaction_undoes_the_event_and_what_caused_it(
    process: Process, queue: InlineQueue
) -> None:
    envelope = message(process, "unbelievable")
    with pytest.raises(Faulty):
        process.receiver.receive(envelope)
    with pytest.raises(Faulty):
        process.bus.execute(WriteNow("unbelievable"))
    assert process.bus.outcome_of(envelope.id) is None
    assert rows(process, "select note from notes") == rows(process, "select note from witnessed") == []
    assert queue.announced == []


def test_what_is_refused_is_acted_on_by_nobody(process: Process) -> None:
    for _ in range(2):
        process.receiver.receive(message(process, "a"))
    assert rows(process, "select note from witnessed") == [("a",)]


def test_events_written_while_the_broker_is_away_are_swept_up_in_order(process: Process, queue: InlineQueue) -> None:
    queue.down = True
    for note in ("a", "b", "c"):
        process.receiver.receive(message(process, note))
    process.relay.wait()
    assert queue.announced == []
    age_outbox(process)
    queue.down = False
    assert process.sweep() == 6
    queue.drain()
    assert [event["subject"] for _, event in queue.announced] == ["a", "b", "c"]
    assert sorted(rows(process, "select note from copies")) == [("a",), ("b",), ("c",)]


def test_what_waits_for_a_full_lane_holds_up_no_other(
    process: Process, queue: InlineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is anonymous has spooled more than a sweep takes at once, and their lane is full."""
    monkeypatch.setattr("backend.kernel.delivery.outbox._BATCH", 2)
    queue.down = True
    for note in "abcde":
        process.bus.dispatch(Scribble(note), uuid7())
    for note in "xyz":
        process.bus.dispatch(Write(note), uuid7())
    queue.down, queue.full = False, {"notes.commands.anonymous"}
    assert process.sweep() == 3
    queue.drain()
    assert rows(process, "select note from notes order by note") == [("x",), ("y",), ("z",)]
    queue.full = set()
    assert process.sweep() == 5


def test_a_broker_that_is_slow_with_events_holds_up_no_message(
    process: Process, queue: InlineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, send_all = threading.Event(), queue.send_all

    def slow(envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        assert answers.wait(10)
        return send_all(envelopes, deadline)

    monkeypatch.setattr(queue, "send_all", slow)
    for note in ("a", "b"):
        process.receiver.receive(message(process, note))
    assert queue.announced == []
    answers.set()
    process.relay.wait()
    assert [event["subject"] for _, event in queue.announced] == ["a", "b"]


def test_a_message_that_ends_beside_the_worker_leaves_its_events_to_the_sweep(
    process: Process, queue: InlineQueue
) -> None:
    process.relay.close()
    process.receiver.receive(message(process, "a"))
    assert queue.announced == []
    age_outbox(process)
    assert process.sweep() == 2
    assert [event["subject"] for _, event in queue.announced] == ["a"]


def test_what_one_queue_refuses_holds_up_what_follows_to_it_and_nothing_else(
    process: Process, queue: InlineQueue
) -> None:
    told = [Envelope(uuid7(), name, EVENTS_EXCHANGE, {}) for name in ("first", "second")]
    with process.bus.database.transaction() as connection:
        outbox.write(
            connection, [("x", one) for one in (message(process, "a"), told[0], message(process, "b"), told[1])]
        )
    age_outbox(process)
    queue.full = {"notes.commands"}
    assert process.sweep() == 2
    assert [name for name, _ in queue.announced] == ["first", "second"]
    assert rows(process, "select body ->> 'note' from outbox order by position") == [("a",), ("b",)]
    queue.full = set()
    assert process.sweep() == 2
    assert [envelope.body["note"] for envelope in queue.sent[:2]] == ["a", "b"]


def test_sweeps_side_by_side_publish_each_event_once(process: Process, queue: InlineQueue) -> None:
    queue.down = True
    for number in range(40):
        process.receiver.receive(message(process, str(number)))
    process.relay.wait()
    age_outbox(process)
    queue.down = False
    with ThreadPoolExecutor(6) as sweepers:
        swept = sum(sweepers.map(lambda _: process.sweep(), range(6)))
    assert swept == 80
    assert len(queue.announced) == 40


def test_a_synchronous_command_answers_and_publishes_its_events(process: Process, queue: InlineQueue) -> None:
    assert process.bus.execute(WriteNow("abc")) == 3
    assert [key for key, _ in queue.announced] == ["notes.noted.v1"]


def test_an_aggregate_whose_events_somebody_else_is_publishing_costs_the_answer_nothing(
    process: Process, queue: InlineQueue
) -> None:
    with psycopg.connect(process.bus.database.url) as other:
        other.execute("select pg_advisory_xact_lock(hashtextextended('abc', 0))")
        assert process.bus.execute(WriteNow("abc")) == 3
    assert queue.announced == []
    age_outbox(process)
    process.sweep()
    assert [key for key, _ in queue.announced] == ["notes.noted.v1"]


def test_a_refusal_that_keeps_its_effects_does(process: Process) -> None:
    with pytest.raises(WrongGuess):
        process.bus.execute(Guess("counted"))
    assert rows(process, "select note from notes") == [("counted",)]


def test_a_command_goes_to_the_broker_under_its_operations_id(process: Process, queue: InlineQueue) -> None:
    operation_id = uuid7()
    context = current_origin.set(Origin(request_id="r7", actor=UUID(int=7), traceparent="00-1-2-01"))
    accepted = process.bus.dispatch(Write("a"), operation_id)
    current_origin.reset(context)
    (sent,) = queue.sent
    assert accepted.way is Way.BROKER
    assert (sent.id, sent.name, sent.lane, sent.body) == (operation_id, "notes.write", "notes.commands", {"note": "a"})
    assert sent.headers.request_id == "r7"
    assert sent.headers.actor == UUID(int=7)
    assert sent.headers.traceparent == "00-1-2-01"


def test_a_command_is_spooled_while_the_broker_is_away_and_carried_out_later(
    process: Process, queue: InlineQueue
) -> None:
    queue.down = True
    operation_id = uuid7()
    assert process.bus.dispatch(Write("a"), operation_id).way is Way.SPOOL
    assert process.bus.outcome_of(operation_id) is None
    queue.down = False
    process.sweep()
    queue.drain()
    outcome = process.bus.outcome_of(operation_id)
    assert outcome is not None
    assert outcome.status == "succeeded"


def test_a_command_for_a_full_lane_is_refused_and_not_spooled(process: Process, queue: InlineQueue) -> None:
    """The spool is for a broker that is away; what has no room must not wait out of sight."""
    queue.full = {"notes.commands"}
    with pytest.raises(Unavailable):
        process.bus.dispatch(Write("a"), uuid7())
    assert process.sweep() == 0
    assert process.bus.dispatch(Scribble("a"), uuid7()).way is Way.BROKER


@pytest.mark.parametrize("settings", [{"spool_limit": 6}], indirect=True)
def test_anonymous_commands_take_half_of_the_spool_at_most(process: Process, queue: InlineQueue) -> None:
    queue.down = True
    for note in "abc":
        assert process.bus.dispatch(Scribble(note), uuid7()).way is Way.SPOOL
    with pytest.raises(Unavailable):
        process.bus.dispatch(Scribble("d"), uuid7())
    for note in "def":
        assert process.bus.dispatch(Write(note), uuid7()).way is Way.SPOOL
    with pytest.raises(Unavailable):
        process.bus.dispatch(Write("g"), uuid7())


@contextmanager
def without_database(queue: InlineQueue) -> Iterator[Process]:
    nowhere = settings_with(database_url="postgresql://127.0.0.1:1/none", publish_deadline=0.5)
    process = Program(nowhere, CONTEXTS).process(queue)
    yield process
    process.close()


def test_a_command_that_nobody_can_take_is_not_accepted(queue: InlineQueue) -> None:
    queue.down = True
    with without_database(queue) as process, pytest.raises(Unavailable):
        process.bus.dispatch(Write("a"), uuid7())


def test_a_message_waits_for_a_database_that_is_away(queue: InlineQueue) -> None:
    with without_database(queue) as process, pytest.raises(DatabaseAway):
        process.receiver.receive(message(process, "a"))


def test_outcomes_past_their_retention_are_purged_in_batches(process: Process) -> None:
    old, young = message(process, "old"), message(process, "young")
    for envelope in (old, young):
        process.receiver.receive(envelope)
    with process.bus.database.transaction() as connection:
        connection.execute(
            sa.text("update operations set finished_at = now() - interval '31 days' where id = :id"), {"id": old.id}
        )
    process.purge(batch=1)
    assert process.bus.outcome_of(old.id) is None
    assert process.bus.outcome_of(young.id) is not None


def age_outbox(process: Process) -> None:
    """Make the outbox's rows old enough to count as left over."""
    with process.bus.database.transaction() as connection:
        connection.execute(sa.text("update outbox set created_at = created_at - interval '1 minute'"))
