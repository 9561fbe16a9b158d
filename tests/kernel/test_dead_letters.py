"""What nobody could carry out is kept once, can be replayed once in effect, and is settled by operators."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from backend.kernel.delivery.bus import Bus, Unavailable
from uuid_utils.compat import uuid7

from backend.contexts.operators.application.commands import (
    DiscardDeadLetter,
    Group,
    ReplayDeadLetter,
    Replayed,
    ReplayGroup,
)
from backend.contexts.operators.application.handlers import handlers as dead_letter_handlers
from backend.contexts.operators.application.ports import DeadLettersPorts
from backend.contexts.operators.domain.errors import DeadLetterNotFound, DeadLetterSettled, NotReplayable
from backend.contexts.operators.infrastructure import dead_letters as letters
from backend.contexts.operators.infrastructure.dead_letters import DeadLetterView, SqlDeadLetters
from backend.kernel.delivery import dead_letters, outbox
from backend.kernel.delivery.dead_letters import DeadLetter
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.sealing import Keyring
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command
from backend.kernel.messages.refusals import Conflict
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.secret import Secret
from backend.kernel.postgres.database import Database
from tests.inline import InlineQueue

SECRET = "a canary in a password"


@dataclass(frozen=True)
class Pay(Command):
    bill: str
    pin: Secret


class Paid(Conflict):
    """The bill is paid already."""


class Till:
    """A table of bills. While it is jammed, paying is a fault, after it has written."""

    jammed = False

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def take(self, bill: str) -> None:
        with self._unit.refusing({"bills_pkey": Paid}):
            self._unit.connection.execute(sa.text("insert into bills values (:bill)"), {"bill": bill})
        if Till.jammed:
            raise ZeroDivisionError(f"{SECRET} must not be told")


handlers = Handlers[Till]("till")


@handlers.on(Pay)
def pay(command: Pay, till: Till) -> None:
    till.take(command.bill)


@pytest.fixture(autouse=True)
def _working_till() -> Iterator[None]:
    Till.jammed = False
    yield
    Till.jammed = False


@pytest.fixture
def queue() -> Iterator[InlineQueue]:
    queue = InlineQueue()
    yield queue
    queue.close()


@pytest.fixture
def bus(clean_database: str, queue: InlineQueue) -> Iterator[Bus]:
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table if exists bills; create table bills (bill text primary key)")
    bus = Bus(Database(clean_database), queue, Keyring(["k" * 40]), spool_limit=3)
    bus.include(handlers, Till)
    bus.include(
        dead_letter_handlers, lambda unit: DeadLettersPorts(SqlDeadLetters(unit, {"till.pay": "till.commands"}))
    )
    queue.bus = bus
    yield bus
    queue.drain()
    bus.close()
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table bills")


def rows(bus: Bus, statement: str) -> list[Any]:
    return bus.database.read(lambda connection: connection.execute(statement.encode()).fetchall())


def change(bus: Bus, statement: str) -> None:
    bus.database.read(lambda connection: connection.execute(statement.encode()))


def message(bill: str = "rent", **headers: Any) -> Envelope:
    sealed = Keyring(["k" * 40]).seal(SECRET)
    known = {"request_id": "r1", "accepted_at": "2026-01-01T00:00:00+00:00", **headers}
    return Envelope(uuid7(), "till.pay", "till.commands", {"bill": bill, "pin": sealed}, known)


def killed(envelope: Envelope, **more: Any) -> DeadLetter:
    """As the recorder finds a message in the dead-letter queue that killed its workers."""
    return DeadLetter(envelope, dead_letters.DELIVERY_LIMIT, **more)


def fail(bus: Bus, envelope: Envelope) -> DeadLetterView:
    """Try the message while the till is jammed, as the worker does at its last try."""
    Till.jammed = True
    try:
        bus.receive(envelope)
    except ZeroDivisionError as error:
        bus.give_up(envelope, dead_letters.FAULT, error)
    Till.jammed = False
    return letter_of(bus, envelope.id)


def letter_of(bus: Bus, message_id: UUID) -> DeadLetterView:
    ((identity,),) = rows(bus, f"select id from dead_letters where message_id = '{message_id}'")  # noqa: S608
    return bus.database.read(lambda connection: letters.dead_letter(connection, identity))


def deliver_replays(bus: Bus, queue: InlineQueue) -> None:
    change(bus, "update outbox set created_at = created_at - interval '1 minute'")
    bus.relay_leftovers()
    queue.drain()


def status_of(bus: Bus, envelope: Envelope) -> tuple[str, str | None]:
    outcome = bus.outcome_of(envelope.id)
    assert outcome is not None
    return outcome.status, outcome.problem["code"] if outcome.problem else None


def test_a_fault_is_a_dead_letter_with_reason_traceback_and_a_failed_operation(bus: Bus) -> None:
    envelope = message()
    letter = fail(bus, envelope)
    assert (letter.task, letter.lane, letter.reason, letter.error) == (
        "till.pay",
        "till.commands",
        "fault",
        "ZeroDivisionError",
    )
    assert letter.traceback[0]["frames"][-1]["function"].endswith("take")
    assert (letter.status, letter.times, letter.request_id) == ("open", 1, "r1")
    assert (letter.operation, status_of(bus, envelope)) == ("failed", ("failed", "internal_error"))


def test_no_secret_is_readable_in_a_dead_letter(bus: Bus) -> None:
    letter = fail(bus, message())
    assert letter.body == {"bill": "rent", "pin": "•••"}
    assert SECRET not in repr(letter)
    assert SECRET not in str(rows(bus, "select dead_letters::text from dead_letters"))


def test_a_dead_letter_drained_twice_is_recorded_once(bus: Bus) -> None:
    envelope = message()
    bus.bury(killed(envelope))
    bus.bury(killed(envelope))
    assert letter_of(bus, envelope.id).times == 1
    assert status_of(bus, envelope) == ("failed", "internal_error")


def test_the_copy_of_a_fault_in_the_queue_does_not_open_what_was_settled_meanwhile(bus: Bus) -> None:
    envelope = message()
    letter = fail(bus, envelope)
    bus.execute(DiscardDeadLetter(letter.id, "tried by hand"))
    bus.bury(DeadLetter(envelope, dead_letters.REJECTED))
    assert replace(letter_of(bus, envelope.id), status="open", note=None) == letter


def test_a_second_copy_that_dies_after_its_message_was_carried_out_is_no_dead_letter(bus: Bus) -> None:
    envelope = message()
    bus.receive(envelope)
    bus.bury(killed(envelope))
    assert rows(bus, "select 1 from dead_letters") == []
    assert status_of(bus, envelope) == ("succeeded", None)


def test_what_nobody_can_read_is_kept_byte_for_byte_and_fails_no_operation(bus: Bus) -> None:
    foreign = Envelope(uuid7(), "", "", {}, {"x\x00y": "\udc80", "task": None})
    bus.bury(
        DeadLetter(
            foreign,
            dead_letters.MALFORMED,
            "no task name",
            raw=b"\x00\xff{",
            content_type="text/plain",
            has_operation=False,
        )
    )
    letter = letter_of(bus, foreign.id)
    assert letter.raw is not None
    assert base64.b64decode(letter.raw) == b"\x00\xff{"
    assert (letter.body, letter.content_type, letter.operation) == (None, "text/plain", None)
    assert bus.outcome_of(foreign.id) is None
    with pytest.raises(NotReplayable):
        bus.execute(ReplayDeadLetter(letter.id))


def test_a_replay_turns_failed_into_succeeded(bus: Bus, queue: InlineQueue) -> None:
    envelope = message()
    letter = fail(bus, envelope)
    bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(bus, queue)
    assert status_of(bus, envelope) == ("succeeded", None)
    assert rows(bus, "select bill from bills") == [("rent",)]
    assert letter_of(bus, envelope.id).status == "replayed"


def test_a_replay_clicked_many_times_and_delivered_many_times_is_carried_out_once(bus: Bus, queue: InlineQueue) -> None:
    envelope = message()
    letter = fail(bus, envelope)
    with ThreadPoolExecutor(4) as operators:
        list(operators.map(bus.execute, [ReplayDeadLetter(letter.id)] * 8))
    deliver_replays(bus, queue)
    (replayed,) = queue.sent
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(bus.receive, [replayed] * 8))
    bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(bus, queue)
    assert rows(bus, "select bill from bills") == [("rent",)]
    assert status_of(bus, envelope) == ("succeeded", None)


def test_only_a_replay_takes_over_a_failed_operation(bus: Bus) -> None:
    envelope = message()
    fail(bus, envelope)
    bus.receive(envelope)
    assert status_of(bus, envelope) == ("failed", "internal_error")


def test_a_replay_never_takes_over_a_refusal_of_the_domain(bus: Bus) -> None:
    bus.receive(message())
    refused = message()
    bus.receive(refused)
    change(bus, "delete from bills")
    bus.receive(replace(refused, headers={**refused.headers, "replay": 1}))
    assert status_of(bus, refused) == ("failed", "paid")
    assert rows(bus, "select 1 from bills") == []


def test_a_replay_that_the_domain_refuses_ends_with_its_reason(bus: Bus, queue: InlineQueue) -> None:
    envelope = message()
    letter = fail(bus, envelope)
    bus.receive(message())
    bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(bus, queue)
    assert status_of(bus, envelope) == ("failed", "paid")


def test_a_replay_that_fails_again_is_a_dead_letter_again(bus: Bus, queue: InlineQueue) -> None:
    envelope = message(attempts=7, waiting=True)
    letter = fail(bus, envelope)
    bus.execute(ReplayDeadLetter(letter.id))
    (headers,) = rows(bus, "select headers from outbox")[0]
    assert headers == {"request_id": "r1", "accepted_at": envelope.headers["accepted_at"], "replay": 1}
    change(bus, "delete from outbox")
    again = fail(bus, replace(envelope, headers=headers))
    assert (again.id, again.times, again.status) == (letter.id, 2, "open")
    bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(bus, queue)
    assert status_of(bus, envelope) == ("succeeded", None)


def test_a_copy_of_the_message_that_waits_in_the_outbox_becomes_the_replay(bus: Bus, queue: InlineQueue) -> None:
    envelope = message()
    bus.database.read(lambda connection: outbox.spool(connection, envelope, 10))
    letter = fail(bus, envelope)
    bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(bus, queue)
    assert status_of(bus, envelope) == ("succeeded", None)


def test_a_group_is_replayed_and_the_others_left(bus: Bus, queue: InlineQueue) -> None:
    ours = [message(bill) for bill in ("rent", "gas", "water")]
    for envelope in ours:
        fail(bus, envelope)
    other = message("tax")
    bus.bury(killed(other))
    assert bus.execute(ReplayGroup(Group(reason="fault", error="ZeroDivisionError"))) == Replayed(3, 0)
    deliver_replays(bus, queue)
    assert sorted(rows(bus, "select bill from bills")) == [("gas",), ("rent",), ("water",)]
    assert letter_of(bus, other.id).status == "open"
    assert bus.execute(ReplayGroup(Group(reason="fault"))) == Replayed(0, 0)


def test_a_task_that_nobody_knows_is_replayed_once_somebody_does(bus: Bus) -> None:
    unknown = replace(message(), name="till.unheard_of")
    bus.bury(DeadLetter(unknown, dead_letters.UNKNOWN_TASK))
    letter = letter_of(bus, unknown.id)
    with pytest.raises(NotReplayable):
        bus.execute(ReplayDeadLetter(letter.id))
    assert bus.execute(ReplayGroup(Group(reason="unknown_task"))) == Replayed(0, 1)
    assert letter_of(bus, unknown.id).status == "open"


def test_a_discarded_dead_letter_says_why_and_can_still_be_replayed(bus: Bus, queue: InlineQueue) -> None:
    envelope = message()
    letter = fail(bus, envelope)
    bus.execute(DiscardDeadLetter(letter.id, "paid in cash"))
    settled = letter_of(bus, envelope.id)
    assert (settled.status, settled.note, settled.operation) == ("discarded", "paid in cash", "failed")
    with pytest.raises(DeadLetterSettled):
        bus.execute(DiscardDeadLetter(letter.id, "twice"))
    bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(bus, queue)
    assert status_of(bus, envelope) == ("succeeded", None)


def test_what_operators_do_is_audited_also_when_it_is_refused(bus: Bus) -> None:
    letter = fail(bus, message())
    missing = uuid7()
    bus.execute(DiscardDeadLetter(letter.id, "enough"))
    bus.execute(ReplayDeadLetter(letter.id))
    bus.execute(ReplayGroup(Group(task="till.pay")))
    with pytest.raises(DeadLetterNotFound):
        bus.execute(ReplayDeadLetter(missing))
    assert rows(bus, "select action, about, outcome from audit_log order by id") == [
        ("dead_letters.discard", letter.id, "succeeded"),
        ("dead_letters.replay", letter.id, "succeeded"),
        ("dead_letters.replay_group", None, "succeeded"),
        ("dead_letters.replay", missing, "dead_letter_not_found"),
    ]


def test_dead_letters_are_purged_before_the_inbox_forgets_their_messages(bus: Bus) -> None:
    for days in (13, 15, 31):
        envelope = message(str(days))
        fail(bus, envelope)
        age = f"now() - interval '{days} days'"
        change(bus, f"update dead_letters set last_dead_at = {age} where message_id = '{envelope.id}'")  # noqa: S608
        change(bus, f"update operations set finished_at = {age} where id = '{envelope.id}'")  # noqa: S608
    assert bus.purge(batch=1) == 3
    assert rows(bus, "select body ->> 'bill' from dead_letters") == [("13",)]
    assert rows(bus, "select count(*) from operations") == [(2,)]


def test_dead_letters_that_wait_are_in_the_backlog(bus: Bus) -> None:
    letter = fail(bus, message("rent"))
    fail(bus, message("gas"))
    bus.execute(DiscardDeadLetter(letter.id, "enough"))
    assert bus.database.read(dead_letters.backlog).dead_letters == 1


def test_the_spool_is_bounded_and_takes_commands_again_when_it_was_emptied(bus: Bus, queue: InlineQueue) -> None:
    queue.down = True
    command = Pay("rent", Secret("0000"))
    for _ in range(3):
        bus.dispatch(command, uuid7())
    with pytest.raises(Unavailable):
        bus.dispatch(command, uuid7())
    change(bus, "delete from outbox where position = (select max(position) - 1 from outbox)")
    bus.dispatch(command, uuid7())
    with pytest.raises(Unavailable):
        bus.dispatch(command, uuid7())
    change(bus, "delete from outbox")
    bus.dispatch(command, uuid7())
    change(bus, "delete from outbox")
