"""Batches: what waits together is carried out together, and everybody finds what they would find after each alone."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import hypothesis.strategies as st
import psycopg
import pytest
import sqlalchemy as sa
import sqlalchemy.orm
import structlog
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE, Envelope, Headers, Taking
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.authority import Account, admin
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command, Progress
from backend.kernel.messages.refusals import Conflict
from backend.kernel.messages.registry import Handlers, Kind
from backend.program import Process
from tests.inline import InlineQueue

M = TypeVar("M", bound="Move")
BOXES = tuple(UUID(int=number) for number in range(1, 4))
BOX = BOXES[0]
ROOT, FORMER = UUID(int=101), UUID(int=102)
"""An administrator, and somebody who was one."""


@dataclass(frozen=True)
class Moved(Event):
    box_id: UUID
    move_id: UUID
    balance: int

    @property
    def subject(self) -> str:
        return str(self.box_id)

    @classmethod
    def routing_key(cls) -> str:
        return "boxes.moved.v1"


@dataclass(frozen=True)
class Move(Command):
    """Move something into a box, or out of it.

    Attributes:
        end: what happens after the effect: `succeed`, `keep` (a refusal that keeps it), `refuse` (one that does not),
            `fail` at each attempt, `crash` the process the first time, go on in a second `step`.
    """

    box_id: UUID
    amount: int
    end: str = "succeed"


@dataclass(frozen=True)
class Fill(Move):
    """As `Move`, through the entity."""


@dataclass(frozen=True)
class Seal(Command):
    """For administrators."""

    box_id: UUID


class NotEnough(Conflict):
    """There is not enough in the box."""


class Late(Conflict):
    """Refused after the effect, which is undone."""


class Counted(Conflict):
    """Refused, and counted."""

    keeps_effects = True


class Faulty(Exception):
    """Something that is nobody's fault."""


class Crash(BaseException):
    """The end of the process."""


@dataclass(eq=False)
class Box(Aggregate):
    id: UUID
    balance: int


_MOVE = """
insert into moves (id, box, amount)
select id, box, amount from jsonb_to_recordset(%(rows)s) as new (id uuid, box uuid, amount int)
"""
boxes_table = sa.Table(
    "boxes",
    sa.MetaData(),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("balance", sa.Integer),
    sa.Column("version", sa.Integer, onupdate=sa.text("boxes.version + 1")),
)
sa.orm.registry().map_imperatively(Box, boxes_table)


class Boxes:
    """The boxes of one unit of work."""

    crashed: ClassVar[set[UUID]] = set()
    """The messages that ended a process: a process does not remember, a test does."""

    def __init__(self, unit: UnitOfWork) -> None:
        self.unit = unit

    def move(self, command: Move) -> None:
        row = {"id": self.unit.message_id, "box": command.box_id, "amount": command.amount}
        self._run("insert into moves (id, box, amount) values (:id, :box, :amount)", **row)
        changed = self._run("update boxes set balance = balance + :amount where id = :box returning balance", **row)
        balance = int(changed.scalar_one())
        if balance < 0:
            raise NotEnough
        self.unit.track(Aggregate()).record(Moved(command.box_id, self.unit.message_id, balance))

    def fill(self, command: Fill) -> None:
        """As `move`."""
        box = self.unit.locked(Box, command.box_id)
        assert box is not None
        if box.balance + command.amount < 0:
            raise NotEnough
        box.balance += command.amount
        self.unit.insert(_MOVE, {"id": self.unit.message_id, "box": box.id, "amount": command.amount})
        self.unit.track(box).record(Moved(box.id, self.unit.message_id, box.balance))

    def steps(self, command: Move) -> int:
        """Count one more step of the command; returns how many were done before."""
        counted = "insert into steps values (:id) on conflict (id) do nothing"
        return 1 - int(self._run(counted, id=self.unit.message_id).rowcount)

    def seal(self, box_id: UUID) -> None:
        self._run("update boxes set sealed = true where id = :box", box=box_id)

    def heard(self, event: Moved) -> None:
        self._run("insert into heard values (:id)", id=event.move_id)

    def _run(self, statement: str, **values: Any) -> Any:
        return self.unit.connection.execute(sa.text(statement), values)


handlers = Handlers[Boxes]("boxes", audited=True)
listeners = Handlers[Boxes]("listeners")


@handlers.on(Move, attempts=2)
def move(command: Move, boxes: Boxes) -> Progress | None:
    return _end(command, boxes, boxes.move)


@handlers.on(Fill, attempts=2)
def fill(command: Fill, boxes: Boxes) -> Progress | None:
    return _end(command, boxes, boxes.fill)


def _end(command: M, boxes: Boxes, effect: Callable[[M], None]) -> Progress | None:
    """The effect, and then the end that the command asks for."""
    if command.end == "step" and not boxes.steps(command):
        return Progress(1, 2, 0)
    effect(command)
    if command.end == "refuse":
        raise Late
    if command.end == "keep":
        raise Counted
    if command.end == "fail":
        raise Faulty
    if command.end == "crash" and boxes.unit.message_id not in Boxes.crashed:
        Boxes.crashed.add(boxes.unit.message_id)
        raise Crash
    return None


@handlers.on(Seal, may=admin)
def seal(command: Seal, boxes: Boxes) -> None:
    boxes.seal(command.box_id)


@listeners.on(Moved)
def hear(event: Moved, boxes: Boxes) -> None:
    boxes.heard(event)


class Broker(InlineQueue):
    """Keeps what is sent: the test delivers it."""

    def send(self, envelope: Envelope, deadline: float) -> None:
        self.send_all([envelope], deadline)

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        for envelope in envelopes:
            if envelope.lane == EVENTS_EXCHANGE:
                self.announced.append((envelope.name, json.loads(json.dumps(envelope.body))))
            else:
                self.sent.append(envelope)
        return {envelope.id for envelope in envelopes}


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    def account_of(_connection: object, user_id: UUID) -> Account:
        return Account(user_id, frozenset({"admin"}) if user_id == ROOT else frozenset())

    return (
        Context("boxes", handlers, lambda _resources, unit: Boxes(unit), account_of=account_of),
        Context("listeners", listeners, lambda _resources, unit: Boxes(unit)),
    )


@pytest.fixture
def queue() -> Broker:
    return Broker()


@pytest.fixture(autouse=True)
def _tables(clean_database: str) -> Iterator[None]:
    with psycopg.connect(clean_database) as connection:
        connection.execute(
            "create table boxes"
            " (id uuid primary key, balance int not null, sealed bool default false, version int default 1)"
        )
        connection.execute("create table moves (id uuid, box uuid, amount int, position bigserial)")
        connection.execute("create table heard (id uuid); create table steps (id uuid primary key)")
        connection.cursor().executemany("insert into boxes values (%s, 0)", [[box] for box in BOXES])
    yield
    with psycopg.connect(clean_database) as connection:
        connection.execute("drop table boxes, moves, heard, steps")


def rows(process: Process, statement: str) -> list[Any]:
    return process.bus.database.read(lambda connection: connection.execute(statement.encode()).fetchall())


def signed(process: Process, command: Command, **headers: Any) -> Envelope:
    """The message of a command, as a worker takes it."""
    body = json.loads(json.dumps(vars(command), default=str))
    name = process.bus.registry.handlers[type(command)].name
    known = Headers(**{"request_id": "r1", "accepted_at": datetime.now(UTC).isoformat(), **headers})
    envelope = process.resources.sealer.signed(Envelope(uuid7(), name, "boxes.commands", body, known))
    return replace(envelope, taken=Taking(datetime.now(UTC), "worker"))


def together(process: Process, *envelopes: Envelope) -> set[UUID]:
    done = process.batches.receive(envelopes)
    process.relay.wait()
    return done


def ids(*envelopes: Envelope) -> set[UUID]:
    return {envelope.id for envelope in envelopes}


def outcomes(process: Process) -> dict[UUID, str]:
    """By operation: `succeeded`, or the code of its problem."""
    end = "case status when 'failed' then problem ->> 'code' else status end"
    return dict(rows(process, f"select id, {end} from operations where cause is null"))  # noqa: S608


def test_what_waits_together_is_one_transaction(process: Process) -> None:
    batch = [signed(process, Move(box, 5)) for box in BOXES]
    assert together(process, *batch) == ids(*batch)
    assert set(outcomes(process).values()) == {"succeeded"}
    assert rows(process, "select count(*), count(distinct xmin::text) from operations") == [(3, 1)]


@pytest.mark.parametrize("kind", [Move, Fill])
def test_a_refusal_undoes_its_own_effect_and_no_other(process: Process, queue: Broker, kind: type[Move]) -> None:
    first, refused, kept, last = batch = [
        signed(process, kind(BOX, 5)),
        signed(process, kind(BOX, -6)),
        signed(process, kind(BOX, -1, "keep")),
        signed(process, kind(BOX, -2)),
    ]
    assert together(process, *batch) == ids(*batch)
    expected = {first.id: "succeeded", refused.id: "not_enough", kept.id: "counted", last.id: "succeeded"}
    assert outcomes(process) == expected
    assert rows(process, "select id from moves order by position") == [(first.id,), (kept.id,), (last.id,)]
    assert rows(process, "select action, outcome from audit_log order by at, id") == [
        (f"boxes.{kind.__name__.lower()}", outcome) for outcome in expected.values()
    ]
    assert [event["data"]["balance"] for _, event in queue.announced] == [5, 4, 2]
    problem = process.bus.outcome_of(refused.id)
    assert problem is not None
    assert problem.problem is not None
    assert problem.problem["request_id"] == "r1"


def test_a_statement_of_one_message_finds_what_earlier_ones_changed(process: Process) -> None:
    batch = [signed(process, kind(BOX, amount)) for kind, amount in ((Fill, 5), (Move, -4), (Fill, -1), (Move, 2))]
    assert together(process, *batch) == ids(*batch)
    assert set(outcomes(process).values()) == {"succeeded"}
    assert rows(process, "select amount from moves order by position") == [(5,), (-4,), (-1,), (2,)]
    assert rows(process, "select max(balance) from boxes") == [(2,)]


def test_each_change_of_an_entity_is_a_version(process: Process) -> None:
    batch = [signed(process, Fill(box, 5)) for box in (*BOXES, BOX, BOX)]
    assert together(process, *batch) == ids(*batch)
    assert rows(process, "select balance, version from boxes order by id") == [(15, 4), (5, 2), (5, 2)]


def test_a_refusal_after_a_statement_is_undone_alone(process: Process) -> None:
    filled, refused, moved = batch = [
        signed(process, Fill(BOX, 5)),
        signed(process, Move(BOX, 5, "refuse")),
        signed(process, Fill(BOX, 1)),
    ]
    assert together(process, *batch) == ids(*batch)
    assert outcomes(process) == {filled.id: "succeeded", refused.id: "late", moved.id: "succeeded"}
    assert rows(process, "select max(balance) from boxes") == [(6,)]


def test_a_refusal_after_a_change_that_nothing_undoes_leaves_all_to_be_received_alone(process: Process) -> None:
    batch = [signed(process, Fill(BOX, 5)), signed(process, Fill(BOX, 5, "refuse"))]
    assert together(process, *batch) == set()
    assert outcomes(process) == {}
    assert rows(process, "select balance, version from boxes order by id limit 1") == [(0, 1)]


@pytest.mark.parametrize("kind", [Move, Fill])
def test_messages_about_one_thing_keep_their_order(process: Process, kind: type[Move]) -> None:
    batch = [signed(process, kind(BOXES[n % 3], n)) for n in range(16)]
    assert together(process, *batch) == ids(*batch)
    moves = rows(process, "select box, amount from moves order by box, position")
    assert moves == [(BOXES[n], amount) for n in range(3) for amount in range(n, 16, 3)]


@pytest.mark.parametrize("end", ["fail", "step"])
def test_a_fault_of_one_leaves_all_to_be_received_alone(process: Process, queue: Broker, end: str) -> None:
    assert together(process, signed(process, Move(BOX, 5)), signed(process, Move(BOXES[1], 5, end))) == set()
    assert outcomes(process) == {}
    assert rows(process, "select * from moves union all select id, id, 0, 0 from steps") == []
    assert queue.announced == []


def test_a_message_that_was_processed_before_is_left_out(process: Process) -> None:
    before, *others = batch = [signed(process, Move(BOX, 5)) for _ in range(3)]
    process.receiver.receive(before)
    assert together(process, *batch) == ids(*others)
    assert rows(process, "select balance from boxes order by id limit 1") == [(15,)]
    assert together(process, *batch) == set()


def test_a_message_that_was_given_up_is_left_out(process: Process) -> None:
    dead, *others = batch = [signed(process, Move(BOX, 5)) for _ in range(3)]
    process.receiver.give_up(dead)
    assert together(process, *batch) == ids(*others)
    assert outcomes(process)[dead.id] == "internal_error"


def test_copies_of_a_message_that_wait_together_are_left_out(process: Process) -> None:
    twice, *others = [signed(process, Move(BOX, 5)) for _ in range(3)]
    assert together(process, twice, others[0], twice, others[1]) == ids(*others)
    assert rows(process, "select balance from boxes order by id limit 1") == [(10,)]


def test_a_message_of_unknown_origin_is_left_out(process: Process) -> None:
    good, better, bad = signed(process, Move(BOX, 5)), signed(process, Move(BOX, 5)), signed(process, Move(BOX, 5))
    bad = replace(bad, body={**bad.body, "amount": 500})
    assert together(process, good, bad, better) == ids(good, better)
    assert together(process, bad, signed(process, Move(BOX, 5))) == set()  # one that is left is no batch
    assert rows(process, "select balance from boxes order by id limit 1") == [(10,)]


def test_authority_is_checked_for_each_message(process: Process) -> None:
    allowed, denied = batch = [
        signed(process, Seal(box), actor=actor) for box, actor in zip(BOXES, (ROOT, FORMER), strict=False)
    ]
    assert together(process, *batch) == ids(*batch)
    assert outcomes(process) == {allowed.id: "succeeded", denied.id: "forbidden"}
    assert rows(process, "select id from boxes where sealed") == [(BOXES[0],)]


def test_a_batch_does_not_wait_long_for_a_lock(process: Process, clean_database: str) -> None:
    with psycopg.connect(clean_database) as connection:
        connection.execute("update boxes set balance = 100 where id = %s", [BOX])
        assert together(process, signed(process, Move(BOX, 5)), signed(process, Move(BOXES[1], 5))) == set()
        connection.rollback()
    assert rows(process, "select balance from boxes") == [(0,)] * 3


def test_each_message_has_its_own_log_line(process: Process) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    batch = [
        signed(process, Move(BOX, 5), request_id="r1", traceparent=f"00-{trace}-00f067aa0ba902b7-01"),
        signed(process, Move(BOX, -9), request_id="r2"),
    ]
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        together(process, *batch)
    told = [(line["event"], line["request_id"], line["operation_id"], line.get("trace_id")) for line in lines]
    assert told == [
        ("message processed", "r1", str(batch[0].id), trace),
        ("message refused", "r2", str(batch[1].id), None),
    ]


def test_who_waits_for_one_of_them_is_told(process: Process, clean_database: str) -> None:
    awaited = signed(process, Move(BOX, 5), waiting=True)
    with psycopg.connect(clean_database, autocommit=True) as connection:
        connection.execute("listen operations")
        together(process, awaited, signed(process, Move(BOX, 5)))
        assert [told.payload for told in connection.notifies(timeout=5, stop_after=1)] == [str(awaited.id)]


def test_slow_work_and_mail_are_never_batched() -> None:
    kinds: Handlers[None] = Handlers("kinds")
    for kind in Kind:
        message = type(f"Of{kind}", (Command,), {})
        kinds.on(message, kind=kind, name=kind)(lambda _command, _ports: None)
    kinds.on(Move, alone=True, name="alone")(lambda _command, _ports: None)
    assert {handler.name for handler in kinds if handler.batched} == {"commands", "events"}


ENDS = ("succeed", "succeed", "succeed", "succeed", "keep", "refuse", "fail", "crash", "step")
MOVES = st.sampled_from((Move, Fill)).flatmap(
    lambda kind: st.builds(kind, st.sampled_from(BOXES), st.integers(-5, 8), st.sampled_from(ENDS))
)


@dataclass
class World:
    """A lane and a worker that takes batches from it, crashes, and gets messages again.

    Attributes:
        lane: what waits, each with whether it was delivered before.
    """

    process: Process
    queue: Broker
    lane: deque[tuple[Envelope, bool]]

    def take(self, most: int, *, dies: bool) -> None:
        """Process what is there, at most so many; perhaps end between the commit and the acknowledgement."""
        taken = [self.lane.popleft() for _ in range(min(most, len(self.lane)))]
        fresh = [envelope for envelope, again in taken if not again and not envelope.headers.attempts]
        try:
            done = self.process.batches.receive(fresh) if len(fresh) > 1 else set()
        except Crash:
            dies, done = True, set()
        if dies:
            self.lane.extendleft((envelope, True) for envelope, _ in reversed(taken))
        else:
            for envelope, _ in taken:
                if envelope.id not in done:
                    self.alone(envelope)
        self.process.relay.wait()
        while self.queue.sent:
            self.lane.append((self.queue.sent.pop(0), False))

    def alone(self, envelope: Envelope) -> None:
        """As the task of one message does."""
        receiver = self.process.receiver
        try:
            receiver.receive(envelope)
        except Crash:
            self.lane.appendleft((envelope, True))
        except Faulty as fault:
            if envelope.headers.attempts:
                receiver.give_up(envelope, error=fault)
            else:
                self.lane.append((receiver.failed_again(envelope), False))


def test_batches_of_anything_end_as_each_message_alone_would(process: Process, queue: Broker) -> None:
    """Random commands, refusals, faults, duplicates and crashes, against what must be true in the end."""

    @hypothesis_settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.tuples(MOVES, st.booleans()), min_size=1, max_size=24),
        st.lists(st.tuples(st.integers(1, 16), st.booleans()), max_size=12),
    )
    def run(commands: list[tuple[Move, bool]], takes: list[tuple[int, bool]]) -> None:
        with process.bus.database.transaction() as connection:
            connection.execute(sa.text("truncate moves, heard, steps, operations, outbox, dead_letters"))
            connection.execute(sa.text("update boxes set balance = 0"))
        already = len(rows(process, "select from audit_log"))
        queue.announced.clear()
        sent = [signed(process, command) for command, _ in commands]
        copies = [envelope for envelope, (_, twice) in zip(sent, commands, strict=True) if twice]
        world = World(process, queue, deque((envelope, False) for envelope in [*sent, *copies]))
        plan = iter(takes)
        while world.lane:
            most, dies = next(plan, (16, False))
            world.take(most, dies=dies)

        ended = outcomes(process)
        _check_outcomes({one.id: command for one, (command, _) in zip(sent, commands, strict=True)}, ended)
        kept = {one for one, outcome in ended.items() if outcome in ("succeeded", "counted")}
        moved = rows(process, "select id, box, amount from moves order by position")
        assert Counter(one for one, *_ in moved) == Counter(kept), "an effect is lost, or there twice"
        stored = dict(rows(process, "select id, balance from boxes"))
        for box in BOXES:
            balances = _running(amount for _, where, amount in moved if where == box)
            told = [event["data"]["balance"] for _, event in queue.announced if event["subject"] == str(box)]
            assert told == balances, "an event is lost, or there twice, or out of order"
            assert stored[box] == sum(balances[-1:])
        assert Counter(rows(process, "select id from heard")) == Counter((one,) for one in kept)
        audited = [outcome for (outcome,) in rows(process, "select outcome from audit_log order by at, id")]
        assert Counter(audited[already:]) == Counter(ended.values())
        faults = {one for one, outcome in ended.items() if outcome == "internal_error"}
        assert {one for (one,) in rows(process, "select message_id from dead_letters")} == faults
        assert rows(process, "select from outbox") == []

    run()


def _check_outcomes(commands: dict[UUID, Move], ended: dict[UUID, str]) -> None:
    assert ended.keys() == commands.keys()
    refused = {"keep": "counted", "fail": "internal_error", "refuse": "late"}
    possible = {end: {outcome, "not_enough"} for end, outcome in refused.items()}
    for one, command in commands.items():
        assert ended[one] in possible.get(command.end, {"succeeded", "not_enough"})
        assert ended[one] != "not_enough" or command.amount < 0


def _running(amounts: Any) -> list[int]:
    balances: list[int] = []
    for amount in amounts:
        balances.append(amount + sum(balances[-1:]))
    return balances
