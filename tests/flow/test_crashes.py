"""Workers are killed in the middle of their work; nothing is lost and nothing done twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
from pytest_celery import CeleryTestSetup

from tests.flow.client import Answer, Client
from tests.worker import WorkerProcess, eventually

_COMMANDS = 200


def test_two_hundred_commands_survive_the_kill_of_a_child_and_of_the_worker(
    celery_setup: CeleryTestSetup, worker: WorkerProcess, api: Client, clean_database: str
) -> None:
    """An accepted command is carried out once in effect, whatever happens to the worker."""
    worker.kill()
    with ThreadPoolExecutor(8) as clients:
        accepted = list(clients.map(lambda _: _register(api), range(_COMMANDS)))
    assert {answer.status for answer in accepted} == {202}

    worker.start()
    with psycopg.connect(clean_database, autocommit=True) as database:
        eventually(lambda: _users(database) >= 20)
        worker.children()[0].kill()
        eventually(lambda: _users(database) >= 60)
        celery_setup.worker.kill()
        assert _users(database) < _COMMANDS, "everything was done before the kill: it showed nothing"
        celery_setup.worker.restart()
        eventually(lambda: _users(database) == _COMMANDS)

    operations = [api.get(answer.headers["Location"]).body for answer in accepted]
    assert {operation["status"] for operation in operations} == {"succeeded"}
    assert len({operation["resource"] for operation in operations}) == _COMMANDS


def _register(api: Client) -> Answer:
    email = f"{uuid4().hex}@example.com"
    return api.post("/api/v1/users", {"name": "Ada", "email": email, "password": "correct horse battery"})


def _users(database: psycopg.Connection) -> int:
    row = database.execute("select count(*) from users").fetchone()
    assert row is not None
    return int(row[0])
