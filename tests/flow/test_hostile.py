"""Whoever reaches the broker, or was an administrator once: nothing is done in their name, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from kombu import Connection, Producer
from msgspec import structs
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import CreateUser
from backend.contexts.users.domain.user import PersonName
from backend.kernel.messages.secret import Secret
from backend.program import Program
from tasks.app import ProgramApp, make_app
from tasks.lanes import DEAD_LETTERS
from tests.flow.client import Client
from tests.flow.programs import administrator
from tests.settings import settings_with
from tests.worker import SECRET_KEY, WorkerProcess, eventually

Rows = Callable[..., list[Any]]


@pytest.fixture
def rows(clean_database: str) -> Iterator[Rows]:
    with psycopg.connect(clean_database, autocommit=True) as connection:
        yield lambda statement, *values: connection.execute(statement.encode(), values).fetchall()


@pytest.fixture
def ours(rabbitmq_url: str, clean_database: str) -> Iterator[ProgramApp]:
    """The program's own Celery application, as an API process has it."""
    settings = settings_with(broker_url=rabbitmq_url, database_url=clean_database, secret_keys=(SECRET_KEY,))
    app = make_app(Program(settings))
    yield app
    app.close_process()


def forge(url: str, task: str, body: dict[str, Any], envelope: Any, lane: str = "users.commands") -> str:
    """Put a task into a lane, as any AMQP client can."""
    task_id = str(uuid7())
    headers = {"task": task, "id": task_id, "lang": "py", "envelope": envelope}
    with Connection(url) as connection:
        Producer(connection.default_channel, auto_declare=False).publish(
            [[], body, {}], lane, exchange="commands", serializer="json", headers=headers
        )
    return task_id


def recorded(app: ProgramApp, rows: Rows, number: int) -> list[Any]:
    """The dead letters, once there are so many: the recorder runs again and again, as beat has it do."""

    def found() -> list[Any] | None:
        app.tasks["maintenance.record_dead_letters"].apply_async()
        letters = rows("select reason, task, message_id from dead_letters order by first_dead_at")
        return letters if len(letters) >= number else None

    letters: list[Any] = eventually(found)
    return letters


def test_an_order_that_proves_no_author_is_not_followed(
    api: Client, settings: dict[str, str], rabbitmq_url: str, ours: ProgramApp, rows: Rows
) -> None:
    headers = administrator(api, settings)
    me = api.get("/api/v1/users/me", **headers).body["id"]
    victim = api.post("/api/v1/users", _person(), Prefer="wait=10").body["id"]
    order = {"user_id": victim, "roles": ["admin"]}
    accepted_at = "2026-01-01T00:00:00+00:00"

    task_id = forge(rabbitmq_url, "users.set_roles", order, {"actor": me, "accepted_at": accepted_at})
    forge(rabbitmq_url, "users.set_roles", order, {"actor": me, "accepted_at": accepted_at, "mac": "AAAA:BBBB"})
    forge(rabbitmq_url, "users.set_roles", order, ["not", "headers"])

    letters = recorded(ours, rows, 2)
    assert {reason for reason, _, _ in letters} <= {"forged", "unknown_key"}
    assert task_id not in {str(message_id) for _, _, message_id in letters}
    assert rows("select roles from users where id = %s", victim) == [([],)]
    assert rows("select id from operations where id = %s", task_id) == []


def test_a_fault_before_the_author_is_checked_makes_no_forged_order_genuine(  # noqa: PLR0913, PLR0917 - fixtures
    api: Client, settings: dict[str, str], rabbitmq_url: str, ours: ProgramApp, rows: Rows, worker: WorkerProcess
) -> None:
    """As during an update, when a worker meets a table that is not there yet: what is sent again would be signed."""
    me = api.get("/api/v1/users/me", **administrator(api, settings)).body["id"]
    victim = api.post("/api/v1/users", _person(), Prefer="wait=10").body["id"]
    mailed = "select from operations where name = 'notifications.mail_verification_link'"
    eventually(lambda: rows(mailed))  # what comes next is the first that a new process of the pool has to do
    worker.terminate()
    with psycopg.connect(settings["DATABASE_URL"], autocommit=True) as database:
        worker.start()
        worker.ready()
        database.execute("alter table lanes rename to not_there_yet")
        since = worker.mark()
        order = {"user_id": victim, "roles": ["admin"]}
        envelope = {"actor": me, "accepted_at": datetime.now(UTC).isoformat()}
        task_id = forge(rabbitmq_url, "users.set_roles", order, envelope)
        eventually(lambda: any(worker.has_said(text, since) for text in ("message failed", "message dead-lettered")))
        database.execute("alter table not_there_yet rename to lanes")

    def ended() -> list[Any]:
        ours.tasks["maintenance.record_dead_letters"].apply_async()
        return rows("select reason from dead_letters") or rows("select status from operations where id = %s", task_id)

    assert eventually(ended) == [("forged",)]
    assert rows("select roles from users where id = %s", victim) == [([],)]
    assert rows("select status from operations where id = %s", task_id) == []


def test_a_copy_of_a_message_cannot_be_altered(
    api: Client, rabbitmq_url: str, ours: ProgramApp, rows: Rows, worker: WorkerProcess
) -> None:
    """Not even one that our own API signed: for another address, another lane, another actor."""
    user_id = uuid7()
    message = ours.process().resources.codec.of_command(
        CreateUser(user_id, PersonName("Ada"), "ada@example.com", Secret("correct horse battery")), user_id
    )
    headers = {"task": message.name, "id": str(message.id), "lang": "py", "envelope": message.headers.as_json()}
    with Connection(rabbitmq_url) as connection:
        producer = Producer(connection.default_channel, auto_declare=False)
        body = {**message.body, "email": "mallory@example.com"}
        producer.publish([[], body, {}], message.lane, exchange="commands", serializer="json", headers=headers)

    assert recorded(ours, rows, 1)[0][0] == "forged"
    assert rows("select id from users") == []


def test_a_recorded_message_takes_no_effect_after_its_operation_is_purged(
    api: Client, settings: dict[str, str], rabbitmq_url: str, ours: ProgramApp, rows: Rows
) -> None:
    user_id = uuid7()
    sealer, codec = ours.process().resources.sealer, ours.process().resources.codec
    command = CreateUser(user_id, PersonName("Ada"), "ada@example.com", Secret("correct horse battery"))
    message = codec.of_command(command, user_id)
    long_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    message = sealer.signed(replace(message, headers=structs.replace(message.headers, accepted_at=long_ago)))
    headers = {"task": message.name, "id": str(message.id), "lang": "py", "envelope": message.headers.as_json()}
    with Connection(rabbitmq_url) as connection:
        Producer(connection.default_channel, auto_declare=False).publish(
            [[], message.body, {}], message.lane, exchange="commands", serializer="json", headers=headers
        )

    assert recorded(ours, rows, 1) == [("expired", "users.create_user", user_id)]
    assert rows("select id from users") == []

    admin = administrator(api, settings)
    (letter,) = api.get("/api/v1/dead-letters?reason=expired", **admin).body["items"]
    assert api.post(f"/api/v1/dead-letters/{letter['id']}/replay", {}, **admin).status == 200

    def created() -> list[Any]:
        ours.process().sweep()  # as beat has a worker do
        return rows("select id from users where id = %s", user_id)

    assert eventually(created)
    with Connection(rabbitmq_url) as connection:  # the worker rejected it as well: no other test must find it
        eventually(lambda: _drained(ours, connection))


@pytest.mark.usefixtures("worker")
def test_no_order_of_remote_control_loses_a_message(api: Client, ours: ProgramApp, rows: Rows) -> None:
    operation_id = uuid7()
    replies = ours.control.revoke(str(operation_id), reply=True, timeout=10, limit=1)
    assert "refused" in str(replies)

    command = CreateUser(operation_id, PersonName("Ada"), "ada@example.com", Secret("correct horse battery"))
    ours.process().bus.dispatch(command, operation_id)

    eventually(lambda: rows("select id from users where id = %s", operation_id))
    for order in ("shutdown", "rate_limit", "cancel_consumer", "add_consumer", "pool_shrink", "time_limit"):
        answer = ours.control.broadcast(order, reply=True, timeout=10, limit=1)
        assert "refused" in str(answer), order
    assert ours.control.ping(timeout=10, limit=1)


def test_whatever_a_stranger_writes_into_headers_the_next_dead_letter_is_recorded(
    api: Client, rabbitmq_url: str, ours: ProgramApp, rows: Rows
) -> None:
    for request_id in ({"an": "object"}, "NUL\x00", ["list"], 7, "\ud800", "x" * 5000):
        forge(rabbitmq_url, "nobody.knows", {}, {"request_id": request_id, "accepted_at": "x"})
    forge(rabbitmq_url, "nobody.knows.either", {}, {})
    eventually(lambda: "nobody.knows.either" in {task for _, task, _ in recorded(ours, rows, 7)})


def test_what_an_administrator_ordered_is_not_done_once_they_are_none(
    api: Client, settings: dict[str, str], worker: WorkerProcess, rows: Rows
) -> None:
    headers = administrator(api, settings)
    victim = api.post("/api/v1/users", _person(), Prefer="wait=10").body["id"]
    worker.terminate()

    accepted = api.post(f"/api/v1/users/{victim}/deactivate", {}, **headers)
    assert accepted.status == 202
    rows("update users set roles = '{}' where roles <> '{}' returning id")
    worker.start()
    worker.ready()

    ended = eventually(
        lambda: rows("select status, problem ->> 'code' from operations where name like %s", "%deactiv%")
    )
    assert ended == [("failed", "forbidden")]
    assert rows("select is_active from users where id = %s", victim) == [(True,)]


def _drained(app: ProgramApp, connection: Connection) -> bool:
    app.tasks["maintenance.record_dead_letters"].apply_async()
    waiting = connection.default_channel.queue_declare(DEAD_LETTERS, passive=True).message_count
    return bool(waiting == 0)


def _person() -> dict[str, str]:
    return {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": "correct horse battery"}
