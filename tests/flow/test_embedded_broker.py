"""The same flow without RabbitMQ: messages are files, for development only."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from backend.settings import ROOT
from tests.flow.client import Client
from tests.flow.programs import ApiProcess
from tests.worker import WorkerProcess, environment

_BODY = {"name": "Ada", "password": "correct horse battery"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in a directory of its own: its `var/` is not the developer's."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in ("backend", "tasks"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("celeryconfig.py", "wsgi.py"):
        shutil.copy(ROOT / name, directory)
    return directory


@pytest.fixture(scope="module")
def worker(checkout: Path, database_url: str) -> Iterator[WorkerProcess]:
    options = ("--pool", "threads", "--concurrency", "2")
    with WorkerProcess(_settings(checkout, database_url), *options, directory=checkout) as process:
        yield process


@pytest.fixture(scope="module")
def api(checkout: Path, database_url: str, worker: WorkerProcess) -> Iterator[Client]:
    with ApiProcess(_settings(checkout, database_url), directory=checkout) as process:
        yield process.client


def _settings(checkout: Path, database_url: str) -> dict[str, str]:
    return environment(DATABASE_URL=database_url, PYTHONPATH=str(checkout))


def test_a_command_travels_by_file(api: Client) -> None:
    """An accepted command is carried out on the embedded broker, too."""
    accepted = api.post("/api/v1/users", {**_BODY, "email": f"{uuid4().hex}@example.com"})
    assert api.outcome(accepted)["status"] == "succeeded"


def test_a_waiting_client_is_answered_with_what_it_created(api: Client) -> None:
    created = api.post("/api/v1/users", {**_BODY, "email": f"{uuid4().hex}@example.com"}, Prefer="wait=10")
    assert created.status == 201, created.content


def test_a_paused_lane_waits_here_too(api: Client, worker: WorkerProcess, database_url: str) -> None:
    mark = worker.mark()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into lanes (name, paused_at) values ('users.hashing.anonymous', now())"
            " on conflict (name) do update set paused_at = now()"  # the lanes that a worker has seen have a row
        )
        worker.await_log("Canceling queue users.hashing.anonymous", mark)
        accepted = api.post("/api/v1/users", {**_BODY, "email": f"{uuid4().hex}@example.com"})
        assert api.get(accepted.headers["Location"], Prefer="wait=1").body["status"] == "pending"
        connection.execute("update lanes set paused_at = null")
    assert api.outcome(accepted)["status"] == "succeeded"


def test_no_password_lies_in_the_broker_files(api: Client, worker: WorkerProcess, checkout: Path) -> None:
    """Secrets are sealed on every broker."""
    worker.terminate()
    password = f"cana{uuid4().hex}"
    api.post("/api/v1/users", {**_BODY, "email": f"{uuid4().hex}@example.com", "password": password})
    files = [path.read_bytes() for path in (checkout / "var" / "broker" / "messages").iterdir()]
    assert files
    assert not any(password.encode() in base64.b64decode(json.loads(content)["body"]) for content in files)
    assert not any(password.encode() in content for content in files)
