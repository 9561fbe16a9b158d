"""What nobody could carry out is kept once, can be replayed once in effect, and is settled by operators."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from msgspec import structs
from uuid_utils.compat import uuid7

from backend.contexts.operators.application.commands import (
    DiscardDeadLetter,
    Group,
    ReplayDeadLetter,
    Replayed,
    ReplayGroup,
)
from backend.contexts.operators.context import context as operators
from backend.contexts.operators.domain.errors import DeadLetterNotFound, DeadLetterSettled, NotReplayable
from backend.contexts.operators.infrastructure import dead_letters as letters
from backend.contexts.operators.infrastructure.dead_letters import DeadLetterView
from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery import dead_letters, outbox
from backend.kernel.delivery.dead_letters import DeadLetter, Reason
from backend.kernel.delivery.dispatch import Unavailable
from backend.kernel.delivery.envelope import Envelope, Headers, Taking
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command
from backend.kernel.messages.refusals import Conflict
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.secret import Secret
from backend.kernel.observe import timeline
from backend.program import Process
from tests.inline import InlineQueue

SECRET = "a canary in a password"
in_production = pytest.mark.parametrize("settings", [{"app_env": "production"}], indirect=True)


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


@pytest.fixture(autouse=True)
def _bills(clean_database: str) -> Iterator[None]:
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table if exists bills; create table bills (bill text primary key)")
    yield
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table bills")


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (Context("till", handlers, lambda _resources, unit: Till(unit)), operators)


def rows(process: Process, statement: str) -> list[Any]:
    return process.bus.database.read(lambda connection: connection.execute(statement.encode()).fetchall())


def change(process: Process, statement: str) -> None:
    process.bus.database.read(lambda connection: connection.execute(statement.encode()))


def message(process: Process, bill: str = "rent", **headers: Any) -> Envelope:
    written = process.resources.codec.of_command(Pay(bill, Secret(SECRET)), uuid7())
    return again(process, written, request_id="r1", **headers)


def again(process: Process, envelope: Envelope, **headers: Any) -> Envelope:
    """The message with other headers."""
    return process.resources.sealer.signed(replace(envelope, headers=structs.replace(envelope.headers, **headers)))


def killed(envelope: Envelope, **more: Any) -> DeadLetter:
    """As the recorder finds a message in the dead-letter queue that killed its workers."""
    return DeadLetter(envelope, Reason.DELIVERY_LIMIT, **more)


def fail(process: Process, envelope: Envelope) -> DeadLetterView:
    """Try the message while the till is jammed, as the worker does at its last try."""
    Till.jammed = True
    try:
        process.receiver.receive(envelope)
    except ZeroDivisionError as error:
        process.receiver.give_up(envelope, Reason.FAULT, error)
    Till.jammed = False
    return letter_of(process, envelope.id)


def letter_of(process: Process, message_id: UUID) -> DeadLetterView:
    ((identity,),) = rows(process, f"select id from dead_letters where message_id = '{message_id}'")  # noqa: S608
    return process.bus.database.read(lambda connection: letters.dead_letter(connection, identity))


def trace_of(process: Process, envelope: Envelope) -> str:
    with process.bus.database.transaction() as connection:
        return str(timeline.trace(connection, "", envelope.id))


def deliver_replays(process: Process, queue: InlineQueue) -> None:
    change(process, "update outbox set created_at = created_at - interval '1 minute'")
    process.sweep()
    queue.drain()


def status_of(process: Process, envelope: Envelope) -> tuple[str, str | None]:
    outcome = process.bus.outcome_of(envelope.id)
    assert outcome is not None
    return outcome.status, outcome.problem["code"] if outcome.problem else None


def test_a_fault_is_a_dead_letter_with_reason_traceback_and_a_failed_operation(process: Process) -> None:
    envelope = message(process)
    letter = fail(process, envelope)
    assert (letter.task, letter.lane, letter.reason, letter.error) == (
        "till.pay",
        "till.commands",
        "fault",
        "ZeroDivisionError",
    )
    assert letter.traceback[0]["frames"][-1]["function"].endswith("take")
    assert (letter.status, letter.times, letter.request_id) == ("open", 1, "r1")
    assert (letter.operation, status_of(process, envelope)) == ("failed", ("failed", "internal_error"))


@in_production
def test_no_secret_is_readable_in_a_dead_letter(process: Process) -> None:
    envelope = message(process)
    letter = fail(process, envelope)
    assert SECRET not in str((process.bus.outcome_of(envelope.id), trace_of(process, envelope)))
    assert letter.body == {"bill": "rent", "pin": "•••"}
    assert SECRET not in repr(letter)
    assert SECRET not in str(rows(process, "select dead_letters::text from dead_letters"))


def test_development_shows_the_text_of_a_fault_wherever_it_is_told(process: Process) -> None:
    envelope = message(process)
    text = f"ZeroDivisionError: {SECRET} must not be told"
    letter = fail(process, envelope)
    outcome = process.bus.outcome_of(envelope.id)
    assert letter.traceback[0]["type"] == text
    assert outcome is not None
    assert outcome.problem is not None
    assert outcome.problem["detail"] == text
    assert text in trace_of(process, envelope)


def test_a_dead_letter_drained_twice_is_recorded_once(process: Process) -> None:
    envelope = message(process)
    process.receiver.bury(killed(envelope))
    process.receiver.bury(killed(envelope))
    assert letter_of(process, envelope.id).times == 1
    assert status_of(process, envelope) == ("failed", "internal_error")


def test_the_copy_of_a_fault_in_the_queue_does_not_open_what_was_settled_meanwhile(process: Process) -> None:
    envelope = message(process)
    letter = fail(process, envelope)
    process.bus.execute(DiscardDeadLetter(letter.id, "tried by hand"))
    process.receiver.bury(DeadLetter(envelope, Reason.REJECTED))
    assert replace(letter_of(process, envelope.id), status="open", note=None) == letter


def test_a_second_copy_that_dies_after_its_message_was_carried_out_is_no_dead_letter(process: Process) -> None:
    envelope = message(process)
    process.receiver.receive(envelope)
    process.receiver.bury(killed(envelope))
    assert rows(process, "select 1 from dead_letters") == []
    assert status_of(process, envelope) == ("succeeded", None)


def test_a_second_copy_that_dies_after_its_message_was_refused_is_no_dead_letter(process: Process) -> None:
    process.receiver.receive(message(process))
    refused = message(process)
    process.receiver.receive(refused)
    process.receiver.bury(killed(refused))
    assert rows(process, "select 1 from dead_letters") == []
    assert status_of(process, refused) == ("failed", "paid")


def test_what_nobody_can_read_is_kept_byte_for_byte_and_fails_no_operation(process: Process) -> None:
    foreign = Envelope(uuid7(), "", "", {})
    process.receiver.bury(
        DeadLetter(
            foreign,
            Reason.MALFORMED,
            "no task name",
            raw=b"\x00\xff{",
            content_type="text/plain",
            has_operation=False,
            foreign={"x\x00y": "\udc80", "task": None},
        )
    )
    letter = letter_of(process, foreign.id)
    assert letter.raw is not None
    assert base64.b64decode(letter.raw) == b"\x00\xff{"
    assert (letter.body, letter.content_type, letter.operation) == (None, "text/plain", None)
    assert process.bus.outcome_of(foreign.id) is None
    with pytest.raises(NotReplayable):
        process.bus.execute(ReplayDeadLetter(letter.id))


def test_a_replay_turns_failed_into_succeeded(process: Process, queue: InlineQueue) -> None:
    envelope = message(process)
    letter = fail(process, envelope)
    process.bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(process, queue)
    assert status_of(process, envelope) == ("succeeded", None)
    assert rows(process, "select bill from bills") == [("rent",)]
    assert letter_of(process, envelope.id).status == "replayed"


def test_the_outcome_of_a_replay_tells_of_its_own_attempt(process: Process) -> None:
    first = replace(message(process, attempts=7), taken=Taking(datetime(2026, 1, 1, tzinfo=UTC), "one"))
    fail(process, first)
    ((before,),) = rows(process, "select finished_at from operations")
    taken = Taking(datetime(2026, 1, 2, tzinfo=UTC), "two")
    process.receiver.receive(replace(again(process, first, replay=1, attempts=0), taken=taken))
    ((*told, after),) = rows(process, "select attempts, worker, taken_at, finished_at from operations")
    assert (told, after > before) == ([1, "two", taken.at], True)


def test_a_replay_clicked_many_times_and_delivered_many_times_is_carried_out_once(
    process: Process, queue: InlineQueue
) -> None:
    envelope = message(process)
    letter = fail(process, envelope)
    with ThreadPoolExecutor(4) as operators:
        list(operators.map(process.bus.execute, [ReplayDeadLetter(letter.id)] * 8))
    deliver_replays(process, queue)
    (replayed,) = queue.sent
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(process.receiver.receive, [replayed] * 8))
    process.bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(process, queue)
    assert rows(process, "select bill from bills") == [("rent",)]
    assert status_of(process, envelope) == ("succeeded", None)


def test_only_a_replay_takes_over_a_failed_operation(process: Process) -> None:
    envelope = message(process)
    fail(process, envelope)
    process.receiver.receive(envelope)
    assert status_of(process, envelope) == ("failed", "internal_error")


def test_a_replay_never_takes_over_a_refusal_of_the_domain(process: Process) -> None:
    process.receiver.receive(message(process))
    refused = message(process)
    process.receiver.receive(refused)
    change(process, "delete from bills")
    process.receiver.receive(again(process, refused, replay=1))
    assert status_of(process, refused) == ("failed", "paid")
    assert rows(process, "select 1 from bills") == []


def test_a_replay_that_the_domain_refuses_ends_with_its_reason(process: Process, queue: InlineQueue) -> None:
    envelope = message(process)
    letter = fail(process, envelope)
    process.receiver.receive(message(process))
    process.bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(process, queue)
    assert status_of(process, envelope) == ("failed", "paid")


def test_a_replay_that_fails_again_is_a_dead_letter_again(process: Process, queue: InlineQueue) -> None:
    envelope = message(process, attempts=7, waiting=True)
    letter = fail(process, envelope)
    process.bus.execute(ReplayDeadLetter(letter.id))
    (headers,) = rows(process, "select headers from outbox")[0]
    kept = {"request_id": "r1", "accepted_at": envelope.headers.accepted_at, "replay": 1}
    assert headers == {**kept, "replayed_at": headers["replayed_at"], "mac": headers["mac"]}
    change(process, "delete from outbox")
    second = fail(process, replace(envelope, headers=Headers.parse(headers)))
    assert (second.id, second.times, second.status) == (letter.id, 2, "open")
    process.bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(process, queue)
    assert status_of(process, envelope) == ("succeeded", None)


def test_a_copy_of_the_message_that_waits_in_the_outbox_becomes_the_replay(
    process: Process, queue: InlineQueue
) -> None:
    envelope = message(process)
    process.bus.database.read(lambda connection: outbox.spool(connection, envelope, 10))
    letter = fail(process, envelope)
    process.bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(process, queue)
    assert status_of(process, envelope) == ("succeeded", None)


def test_a_group_is_replayed_and_the_others_left(process: Process, queue: InlineQueue) -> None:
    ours = [message(process, bill) for bill in ("rent", "gas", "water")]
    for envelope in ours:
        fail(process, envelope)
    other = message(process, "tax")
    process.receiver.bury(killed(other))
    assert process.bus.execute(ReplayGroup(Group(reason="fault", error="ZeroDivisionError"))) == Replayed(3, 0)
    deliver_replays(process, queue)
    assert sorted(rows(process, "select bill from bills")) == [("gas",), ("rent",), ("water",)]
    assert letter_of(process, other.id).status == "open"
    assert process.bus.execute(ReplayGroup(Group(reason="fault"))) == Replayed(0, 0)


def test_what_may_have_taken_effect_before_is_replayed_only_where_the_group_names_it(process: Process) -> None:
    process.receiver.give_up(message(process), Reason.EXPIRED)
    assert process.bus.execute(ReplayGroup(Group(task="till.pay"))) == Replayed(0, 1)
    assert process.bus.execute(ReplayGroup(Group(reason="expired"))) == Replayed(1, 0)


def test_a_task_that_nobody_knows_is_replayed_once_somebody_does(process: Process) -> None:
    unknown = replace(message(process), name="till.unheard_of")
    process.receiver.bury(DeadLetter(unknown, Reason.UNKNOWN_TASK))
    letter = letter_of(process, unknown.id)
    with pytest.raises(NotReplayable):
        process.bus.execute(ReplayDeadLetter(letter.id))
    assert process.bus.execute(ReplayGroup(Group(reason="unknown_task"))) == Replayed(0, 1)
    assert letter_of(process, unknown.id).status == "open"


def test_a_discarded_dead_letter_says_why_and_can_still_be_replayed(process: Process, queue: InlineQueue) -> None:
    envelope = message(process)
    letter = fail(process, envelope)
    process.bus.execute(DiscardDeadLetter(letter.id, "paid in cash"))
    settled = letter_of(process, envelope.id)
    assert (settled.status, settled.note, settled.operation) == ("discarded", "paid in cash", "failed")
    with pytest.raises(DeadLetterSettled):
        process.bus.execute(DiscardDeadLetter(letter.id, "twice"))
    process.bus.execute(ReplayDeadLetter(letter.id))
    deliver_replays(process, queue)
    assert status_of(process, envelope) == ("succeeded", None)


def test_what_operators_do_is_audited_also_when_it_is_refused(process: Process) -> None:
    letter = fail(process, message(process))
    missing = uuid7()
    process.bus.execute(DiscardDeadLetter(letter.id, "enough"))
    process.bus.execute(ReplayDeadLetter(letter.id))
    process.bus.execute(ReplayGroup(Group(task="till.pay")))
    with pytest.raises(DeadLetterNotFound):
        process.bus.execute(ReplayDeadLetter(missing))
    assert rows(process, "select action, about, outcome from audit_log order by id") == [
        ("dead_letters.discard", letter.id, "succeeded"),
        ("dead_letters.replay", letter.id, "succeeded"),
        ("dead_letters.replay_group", None, "succeeded"),
        ("dead_letters.replay", missing, "dead_letter_not_found"),
    ]


def test_dead_letters_are_purged_before_the_inbox_forgets_their_messages(process: Process) -> None:
    for days in (13, 15, 31):
        envelope = message(process, str(days))
        fail(process, envelope)
        age = f"now() - interval '{days} days'"
        change(process, f"update dead_letters set last_dead_at = {age} where message_id = '{envelope.id}'")  # noqa: S608
        change(process, f"update operations set finished_at = {age} where id = '{envelope.id}'")  # noqa: S608
    assert process.purge(batch=1) == 3
    assert rows(process, "select body ->> 'bill' from dead_letters") == [("13",)]
    assert rows(process, "select count(*) from operations") == [(2,)]


def test_dead_letters_that_wait_are_in_the_backlog(process: Process) -> None:
    letter = fail(process, message(process, "rent"))
    fail(process, message(process, "gas"))
    process.bus.execute(DiscardDeadLetter(letter.id, "enough"))
    assert process.bus.database.read(dead_letters.backlog).dead_letters == 1


@pytest.mark.parametrize("settings", [{"spool_limit": 3}], indirect=True)
def test_the_spool_is_bounded_and_takes_commands_again_when_it_was_emptied(
    process: Process, queue: InlineQueue
) -> None:
    queue.down = True
    command = Pay("rent", Secret("0000"))
    for _ in range(3):
        process.bus.dispatch(command, uuid7())
    with pytest.raises(Unavailable):
        process.bus.dispatch(command, uuid7())
    change(process, "delete from outbox where position = (select max(position) - 1 from outbox)")
    process.bus.dispatch(command, uuid7())
    with pytest.raises(Unavailable):
        process.bus.dispatch(command, uuid7())
    change(process, "delete from outbox")
    process.bus.dispatch(command, uuid7())
    change(process, "delete from outbox")
