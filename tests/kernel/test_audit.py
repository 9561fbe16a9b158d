"""The audit log: who had what done, to whom, from where, and how it ended; and nobody can rewrite it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from flask import Flask
from psycopg.errors import InsufficientPrivilege
from uuid_utils.compat import uuid7

from backend.contexts.operators.context import context as operators
from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.http.caller import Authenticate, Caller
from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command, SyncCommand
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Conflict, Denied
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.secret import Secret
from backend.kernel.observe import audit
from backend.program import Process
from tests.client import Client, believing
from tests.inline import InlineQueue

ADMIN = Caller(UUID("01900000-0000-7000-8000-00000000000a"), UUID(int=1), ("admin",))
SOMEBODY = Caller(UUID("01900000-0000-7000-8000-00000000000b"), UUID(int=2), ())
DOOR, OWNER = UUID("01900000-0000-7000-8000-00000000000d"), UUID("01900000-0000-7000-8000-00000000000f")
KEY = "canary-key"


@dataclass(frozen=True)
class Opened(Event):
    door_id: UUID

    @property
    def subject(self) -> str:
        return str(self.door_id)

    @classmethod
    def routing_key(cls) -> str:
        return "doors.opened.v1"


@dataclass(frozen=True)
class OpenDoor(Command):
    door_id: UUID
    key: Secret
    refused: bool = False


@dataclass(frozen=True)
class Knock(SyncCommand[str]):
    key: Secret


@dataclass(frozen=True)
class Peek(SyncCommand[None]):
    """Of a context that is not audited."""


class Locked(Conflict):
    """It stays shut."""


class WrongKey(Denied):
    """It does not fit, and that it was tried is remembered."""

    keeps_effects = True


class Jammed(Exception):
    """Nobody's fault."""


doors = Handlers[UnitOfWork]("doors", audited=True)
windows = Handlers[UnitOfWork]("windows")


@doors.on(OpenDoor)
def open_door(command: OpenDoor, unit: UnitOfWork) -> None:
    unit.track(Aggregate()).record(Opened(command.door_id))
    if command.refused:
        raise Locked


@doors.on(Opened)
def greet(event: Opened, unit: UnitOfWork) -> None:
    """An event is what a command did: it is no entry of its own."""


@doors.on(Knock)
def knock(command: Knock, unit: UnitOfWork) -> str:
    unit.about = OWNER
    if command.key.value == "jammed":
        raise Jammed
    if command.key.value != KEY:
        raise WrongKey
    return "come in"


@windows.on(Peek)
def peek(command: Peek, unit: UnitOfWork) -> None:
    pass


@dataclass(frozen=True)
class World:
    process: Process
    queue: InlineQueue
    url: str

    def open(self, *, refused: bool = False) -> UUID:
        identity = uuid7()
        self.process.bus.dispatch(OpenDoor(DOOR, Secret(KEY), refused), identity)
        self.queue.drain()
        return identity

    @property
    def entries(self) -> list[tuple[Any, ...]]:
        return self.rows("select action, about, outcome from audit_log order by at, id")

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    """Two of the tests, and the one that shows the log."""
    return (
        operators,
        Context("doors", doors, lambda _resources, unit: unit),
        Context("windows", windows, lambda _resources, unit: unit),
    )


@pytest.fixture
def world(process: Process, queue: InlineQueue, clean_database: str) -> World:
    return World(process, queue, clean_database)


@pytest.fixture
def asked_by_somebody() -> Iterator[None]:
    context = Origin("req-1", SOMEBODY.user_id, "192.0.2.7", "curl/8", "")
    token = current_origin.set(context)
    yield
    current_origin.reset(token)


@pytest.mark.usefixtures("asked_by_somebody")
def test_a_command_carried_out_by_a_worker_names_who_asked_from_where(world: World) -> None:
    world.open()
    entries = world.rows("select actor, action, about, outcome, ip, request_id from audit_log")
    assert entries == [(SOMEBODY.user_id, "doors.open_door", DOOR, "succeeded", "192.0.2.7", "req-1")]


def test_a_refused_command_is_an_entry_with_the_refusals_code(world: World) -> None:
    world.open(refused=True)
    assert world.entries == [("doors.open_door", DOOR, "locked")]
    assert world.queue.announced == [], "what was refused did not happen"


def test_a_redelivered_command_is_one_entry(world: World) -> None:
    for refused in (False, True):
        world.open(refused=refused)
        world.process.receiver.receive(world.queue.sent[-1 if refused else 0])
    assert [outcome for _, _, outcome in world.entries] == ["succeeded", "locked"]


def test_a_command_that_ends_in_a_dead_letter_is_an_internal_error(world: World) -> None:
    world.open()
    lost = world.queue.sent[0]
    other = world.process.resources.sealer.signed(replace(lost, id=uuid7()))
    world.process.receiver.give_up(other)
    world.process.receiver.give_up(other)
    assert world.entries[1:] == [("doors.open_door", DOOR, "internal_error")]


@pytest.mark.usefixtures("asked_by_somebody")
def test_a_failed_sign_in_is_there_with_address_and_request(world: World) -> None:
    """Such a command names no user: its handler says whom it is about."""
    with pytest.raises(WrongKey):
        world.process.bus.execute(Knock(Secret("wrong")))
    assert world.process.bus.execute(Knock(Secret(KEY))) == "come in"
    entries = world.rows("select action, about, outcome, ip, request_id from audit_log order by at")
    assert entries == [
        ("doors.knock", OWNER, "wrong_key", "192.0.2.7", "req-1"),
        ("doors.knock", OWNER, "succeeded", "192.0.2.7", "req-1"),
    ]


def test_a_fault_leaves_no_entry_of_something_that_was_not_done(world: World) -> None:
    with pytest.raises(Jammed):
        world.process.bus.execute(Knock(Secret("jammed")))
    assert world.entries == []


def test_a_context_that_is_not_audited_leaves_no_trace(world: World) -> None:
    world.process.bus.execute(Peek())
    assert world.entries == []


def test_no_secret_is_in_the_log(world: World) -> None:
    world.open()
    world.process.bus.execute(Knock(Secret(KEY)))
    assert KEY not in repr(world.rows("select audit_log::text from audit_log"))


@pytest.mark.parametrize(
    "statement",
    ["update audit_log set outcome = 'locked'", "delete from audit_log", "truncate audit_log"],
)
def test_the_database_refuses_to_rewrite_the_log(world: World, statement: LiteralString) -> None:
    world.open()
    with psycopg.connect(world.url) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)
    assert len(world.entries) == 1


def test_even_a_purge_changes_nothing(world: World) -> None:
    world.open()
    purging = psycopg.connect(world.url, options="-c audit_log.purging=on")
    with purging as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("update audit_log set outcome = 'locked'")


def test_entries_go_after_their_retention_and_not_before(world: World) -> None:
    world.open()
    with psycopg.connect(world.url) as connection:
        connection.execute(
            "insert into audit_log (id, at, action, outcome) values (%s, now() - interval '401 days', 'old', 'x')",
            [uuid7()],
        )
    assert world.process.purge() == 1
    assert world.entries == [("doors.open_door", DOOR, "succeeded")]


@pytest.fixture
def authenticate() -> Authenticate:
    return believing({"admin": ADMIN, "somebody": SOMEBODY})


@pytest.fixture
def client(app: Flask) -> Client:
    return Client(app)


@pytest.fixture
def admin(client: Client) -> Client:
    return client.with_token("admin")


def outcomes(client: Client, **query: Any) -> list[str]:
    answer = client.get("/audit", query)
    assert answer.status_code == 200, answer.json
    return [item["outcome"] for item in answer.json["items"]]


@pytest.mark.parametrize("rare", [{"action": "lanes.pause"}, {"outcome": "forbidden"}])
def test_the_few_entries_of_a_rare_action_or_outcome_are_found_without_reading_the_others(
    world: World, admin: Client, rare: dict[str, Any]
) -> None:
    many = """
        insert into audit_log (id, action, outcome)
        select gen_random_uuid(), 'users.update_profile', 'succeeded' from generate_series(1, 5000)
    """
    one = "insert into audit_log (id, action, outcome) values (gen_random_uuid(), 'lanes.pause', 'forbidden')"
    read = "select sum(seq_tup_read + idx_tup_fetch) from pg_stat_xact_all_tables where relname ~ '^audit_log_'"
    with psycopg.connect(world.url) as connection:
        connection.execute(many)
        connection.execute(one)
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("analyze audit_log")
    with psycopg.connect(world.url) as connection:
        assert len(audit.entries(connection, 50, **rare).items) == 1
        (number,) = connection.execute(read).fetchone() or (None,)
    assert number < 50
    assert len(admin.get("/audit", rare).json["items"]) == 1


@pytest.mark.usefixtures("asked_by_somebody")
def test_an_admin_reads_what_was_done_newest_first(world: World, admin: Client) -> None:
    world.open()
    world.open(refused=True)
    newest, oldest = admin.get("/audit").json["items"]
    assert (newest["outcome"], oldest["outcome"]) == ("locked", "succeeded")
    assert oldest == {
        "id": oldest["id"],
        "at": oldest["at"],
        "actor": str(SOMEBODY.user_id),
        "replayed_by": None,
        "action": "doors.open_door",
        "about": str(DOOR),
        "detail": None,
        "reason": None,
        "outcome": "succeeded",
        "ip": "192.0.2.7",
        "request_id": "req-1",
    }
    assert oldest["at"].endswith("Z")


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("bad", 401), ("somebody", 403)])
def test_nobody_else_reads_it(client: Client, token: str | None, status: int) -> None:
    assert client.with_token(token).get("/audit").status_code == status


@pytest.mark.usefixtures("asked_by_somebody")
def test_the_log_is_found_by_who_what_how_and_when(world: World, admin: Client) -> None:
    world.open()
    world.process.bus.execute(Knock(Secret(KEY)))
    with pytest.raises(WrongKey):
        world.process.bus.execute(Knock(Secret("wrong")))
    at = [item["at"] for item in admin.get("/audit").json["items"]]

    assert outcomes(admin, outcome="wrong_key") == ["wrong_key"]
    assert outcomes(admin, action="doors.knock") == ["wrong_key", "succeeded"]
    assert outcomes(admin, about=DOOR) == ["succeeded"]
    assert len(outcomes(admin, actor=SOMEBODY.user_id, request_id="req-1")) == 3
    assert outcomes(admin, actor=ADMIN.user_id) == []
    assert outcomes(admin, since=at[0]) == ["wrong_key"]
    assert outcomes(admin, until=at[1]) == ["succeeded"]
    assert outcomes(admin, about=OWNER, since=at[1], until=at[0]) == ["succeeded"]


def test_the_log_is_read_page_by_page(world: World, admin: Client) -> None:
    """Conventions: listings are keyset pages of 1 to 100; a forged cursor is 422."""
    for refused in (False, True, False):
        world.open(refused=refused)
    first = admin.get("/audit?limit=2")
    assert [item["outcome"] for item in first.json["items"]] == ["succeeded", "locked"]
    second = admin.get(first.headers["Link"].partition(">")[0].removeprefix("<"))
    assert [item["outcome"] for item in second.json["items"]] == ["succeeded"]
    assert second.json["next_cursor"] is None
    assert admin.get("/audit?cursor=forged").status_code == 422


@pytest.mark.parametrize(
    "query",
    [{"actor": "nobody"}, {"since": "yesterday"}, {"since": "2026-01-02T03:04:05"}, {"action": "a\0b"}, {"x": 1}],
)
def test_a_filter_that_makes_no_sense_is_refused(admin: Client, query: dict[str, str]) -> None:
    answer = admin.get("/audit", query)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["parameter"] == next(iter(query))
