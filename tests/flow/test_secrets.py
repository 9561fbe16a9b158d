"""A password that is easy to find is planted, and looked for in every place where messages leave traces."""

from __future__ import annotations

import base64
import email
import email.policy
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from kombu import Connection, Exchange, Queue
from psycopg import sql

from tests.broker import RabbitMQ, queues, waiting
from tests.flow.client import Client
from tests.flow.programs import ApiProcess, beat, free_port
from tests.worker import Program, WorkerProcess, environment, eventually

_CANARY = f"cana{uuid4().hex}"
_NOBODY_THERE = "postgresql://postgres@127.0.0.1:9/nowhere"


@pytest.fixture
def broker_url(private_rabbitmq: RabbitMQ) -> Iterator[str]:
    """A broker whose only worker is the one that the test starts."""
    with private_rabbitmq.vhost() as url:
        yield url


@pytest.fixture
def settings(broker_url: str, clean_database: str, tmp_path: Path) -> dict[str, str]:
    return environment(BROKER_URL=broker_url, DATABASE_URL=clean_database, MAIL_URL=f"file:{tmp_path / 'mail'}")


def test_a_password_is_readable_nowhere(settings: dict[str, str], broker_url: str, tmp_path: Path) -> None:
    """No secret is readable in a queue, a table, a log line, Flower, or a dead letter."""
    spoken = []
    with ApiProcess(settings) as process, beat(settings) as schedule:
        accepted = process.client.post("/api/v1/users", _somebody())
        assert accepted.status == 202, accepted.content
        _assert_silent(messages := _messages(broker_url))
        assert messages, "in the lane"

        with WorkerProcess({**settings, "DATABASE_URL": _NOBODY_THERE}, "--pool", "solo") as worker:
            delayed = eventually(lambda: _messages(broker_url, "celery_delayed_"))
            _assert_silent(delayed)
        spoken.append(worker.logs())

        before = _retries(broker_url)
        other_key = {**settings, "SECRET_KEYS": settings["JWT_SECRET"], "LANES": "hashing"}
        with WorkerProcess(other_key, "--pool", "solo") as worker:
            eventually(lambda: _retries(broker_url) > before)
            _assert_silent(_messages(broker_url))
        spoken.append(worker.logs())

        # No worker yet: one for housekeeping would take the dead letter out of the queue to record it.
        eventually(lambda: _rejected(broker_url, "users.hashing.anonymous"))
        dead = eventually(lambda: _messages(broker_url, "dead-letters"))
        _assert_silent(dead)

        with WorkerProcess(settings, "--pool", "prefork", "--concurrency", "1") as worker, Flower(settings) as flower:
            eventually(lambda: flower.shows("/api/workers"))
            _carry_out_everything(process.client)
            tasks = eventually(lambda: flower.shows("/api/tasks"))
            assert b"users.create_user" in tasks
            _assert_silent([tasks, flower.shows("/api/workers?refresh=1"), flower.shows("/tasks")])
        spoken += [program.logs() for program in (worker, flower, schedule, process)]

    _assert_silent([line.encode() for line in spoken])
    _assert_silent(_rows(settings["DATABASE_URL"]))
    _assert_silent([path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()])


def test_a_mailed_token_is_readable_in_the_mail_only(settings: dict[str, str], broker_url: str, tmp_path: Path) -> None:
    """Whoever reads queues, tables, announcements or logs must not be able to follow another person's link."""
    settings = {**settings, "REQUIRE_EMAIL_VERIFICATION": "true"}
    one_thread = ("--pool", "threads", "--concurrency", "1")
    with ApiProcess(settings) as process:
        _subscribe_outside(broker_url)
        with WorkerProcess({**settings, "LANES": "hashing,commands,events"}, *one_thread) as worker:
            process.client.outcome(process.client.post("/api/v1/users", _somebody()))
            queued = eventually(lambda: _messages(broker_url, "notifications."))
        with WorkerProcess({**settings, "LANES": "mail"}, *one_thread) as mailing:
            (mail,) = eventually(lambda: list((tmp_path / "mail").glob("*.eml")))
            worker_logs = worker.logs() + mailing.logs()
        announced = [f"{message.body!r}".encode() for message in waiting(broker_url, "outside")]
        logs = [process.logs().encode(), worker_logs.encode()]
    tokens = _tokens_in(mail)
    assert announced
    for secret in tokens:
        _assert_silent([*queued, *announced, *logs, *_rows(settings["DATABASE_URL"])], secret)


def _subscribe_outside(broker_url: str) -> None:
    """What another program does to hear of everything."""
    with Connection(broker_url) as connection:
        everything = Queue("outside", Exchange("events", type="topic", durable=True), routing_key="#")
        everything(connection.default_channel).declare()


def _tokens_in(mail: Path) -> list[str]:
    """The long words of the links."""
    message = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    found = re.findall(r"token=([\w.%-]{20,})", body.get_content())
    assert found, body.get_content()
    return found


def _carry_out_everything(api: Client) -> None:
    """Success, refusal, and a body that is refused at the door."""
    somebody = _somebody()
    assert api.post("/api/v1/users", somebody, Prefer="wait=10").status == 201
    assert api.post("/api/v1/users", {**somebody, "name": "Eve"}, Prefer="wait=10").status == 409
    assert api.post("/api/v1/users", {**somebody, "email": _CANARY}, Prefer="wait=10").status == 422


def _somebody() -> dict[str, str]:
    return {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": _CANARY}


def _assert_silent(places: list[bytes], secret: str = _CANARY) -> None:
    spellings = (secret.encode(), *(base64.b64encode(b" " * shift + secret.encode())[4:-4] for shift in range(3)))
    for content in places:
        assert not any(spelling in content for spelling in spellings)


def _messages(url: str, prefix: str = "") -> list[bytes]:
    """Bodies and headers of what lies in the queues whose names begin so."""
    return [
        f"{message.body!r} {message.headers} {message.properties}".encode()
        for queue in queues()
        if queue.startswith(prefix)
        for message in waiting(url, queue)
    ]


def _retries(url: str) -> int:
    """How often the message that waits longest has been sent again."""
    return max((message.headers.get("retries", 0) for queue in queues() for message in waiting(url, queue)), default=0)


def _rejected(url: str, queue: str) -> bool:
    """Take the next message of the queue, if any, and reject it, as a worker does that can make nothing of it."""
    with Connection(url) as connection, connection.channel() as channel:
        message = channel.basic_get(queue)
        if message is not None:
            channel.basic_reject(message.delivery_tag, requeue=False)
        return message is not None


def _rows(database_url: str) -> list[bytes]:
    """Every row of every table, as text."""
    with psycopg.connect(database_url) as database:
        tables = database.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        assert tables
        rows = [
            row[0].encode()
            for (name,) in tables
            for row in database.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(name)))
        ]
    assert rows
    return rows


class Flower(Program):
    """The monitor."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._port = free_port()
        command = ("celery", "-A", "tasks.app", "--quiet", "flower", "--address=127.0.0.1", f"--port={self._port}")
        without_password = {name: value for name, value in settings.items() if not name.startswith("FLOWER_")}
        super().__init__("flower", *command, environment={**without_password, "FLOWER_UNAUTHENTICATED_API": "true"})

    def shows(self, path: str) -> bytes:
        """What a page says; nothing while there is nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as response:
                content: bytes = response.read()
        except OSError:
            return b""
        return content if len(content) > len(b"{}") else b""
