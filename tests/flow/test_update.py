"""An update from the earlier release: its database is migrated in place, and what waited in it is processed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kombu import Connection, Producer

from backend.settings import ROOT
from tests.broker import RabbitMQ
from tests.flow.programs import ApiProcess, beat
from tests.postgres import migrate
from tests.worker import Program, WorkerProcess, environment, eventually

_QUEUED: list[dict[str, Any]] = json.loads((ROOT / "tests/earlier_release/queued.json").read_text())
_PASSWORD = "correct horse battery"


@pytest.fixture
def settings(private_rabbitmq: RabbitMQ, earlier_database: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    with private_rabbitmq.vhost() as url:
        yield environment(
            ACCEPT_UNSIGNED_MESSAGES="1",
            BROKER_URL=url,
            DATABASE_URL=earlier_database,
            MAIL_URL=f"file:{tmp_path / 'mail'}",
        )


def test_what_the_earlier_release_accepted_is_carried_out_after_the_update(
    settings: dict[str, str], earlier_database: str, tmp_path: Path
) -> None:
    """Messages in the lanes, in the outbox and in the dead letters."""
    waiting = _waiting(earlier_database)
    migrate(earlier_database)
    _run(settings, "python", "-m", "tasks.topology")
    _queue(settings["BROKER_URL"])
    _run(settings, "flask", "--app", "wsgi", "dead-letters", "replay", "--task", "users.create_user")

    with ApiProcess(settings) as api, WorkerProcess(settings, "--pool", "solo") as worker, beat(settings):
        eventually(lambda: waiting <= _succeeded(earlier_database))
        eventually(lambda: _outbox(earlier_database) == 0)

        for name in ("ada", "bob", "cyd", "dan", "eve"):  # registered, or waiting to be, in each of those places
            assert api.client.post("/api/v1/auth/login", {"username": name, "password": _PASSWORD}).status == 200
        worker.await_log("unset ACCEPT_UNSIGNED_MESSAGES")
    assert {"ada@example.com", "ada@example.org", "cyd@example.com"} <= _recipients(tmp_path / "mail")


def _waiting(database_url: str) -> set[str]:
    """The ids of the messages, but for those of a context that is not here."""
    with psycopg.connect(database_url) as database:
        rows = database.execute(
            "SELECT id, name FROM outbox WHERE queue <> 'events' UNION SELECT message_id, task FROM dead_letters"
        ).fetchall()
    found = [*rows, *((message["headers"]["id"], message["headers"]["task"]) for message in _QUEUED)]
    return {
        str(known)
        for known, name in found
        if (ROOT / "backend/contexts" / name.partition(".")[0] / "context.py").exists()
    }


def _queue(broker_url: str) -> None:
    """Put the messages back into their lanes, as they were taken out; accepted just now, so that mails are of use."""
    accepted_at = datetime.now(UTC).isoformat()
    with Connection(broker_url) as connection, Producer(connection, auto_declare=False) as producer:
        for message in _QUEUED:
            body = json.dumps(message["body"])
            where = {"exchange": "commands", "routing_key": message["queue"]}
            headers = message["headers"]
            headers = {**headers, "envelope": {**headers["envelope"], "accepted_at": accepted_at}}
            producer.publish(body, **where, headers=headers, **message["properties"])


def _succeeded(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as database:
        rows = database.execute("SELECT id FROM operations WHERE status = 'succeeded'")
        return {str(operation) for (operation,) in rows}


def _outbox(database_url: str) -> int:
    with psycopg.connect(database_url) as database:
        return database.execute("SELECT FROM outbox").rowcount


def _recipients(directory: Path) -> set[str]:
    return {str(message_from_bytes(mail.read_bytes())["To"]) for mail in directory.glob("*.eml")}


def _run(settings: dict[str, str], *command: str) -> None:
    with Program(command[0], *command, environment=settings) as program:
        assert program.ended() == 0, program.logs()
