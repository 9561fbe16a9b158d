"""The mail server is away, or hangs, while the whole program runs: mails wait, and each arrives once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from tests.flow.client import Client
from tests.flow.programs import administrator, free_port
from tests.smtp import HangingServer
from tests.worker import Program, WorkerProcess, eventually

MAIL = "notifications.mail"


@pytest.fixture
def port() -> int:
    """Where the mail server is, when it is there."""
    return free_port()


@pytest.fixture
def mail_worker(settings: dict[str, str], port: int, worker: WorkerProcess) -> Iterator[WorkerProcess]:
    """The only worker: that of the other tests would write mails to files."""
    worker.terminate()
    environment = {**settings, "MAIL_URL": f"smtp://127.0.0.1:{port}"}
    with WorkerProcess(environment, "--pool", "prefork", "--concurrency", "2") as process:
        yield process
        process.terminate()


@pytest.fixture
def admin(api: Client, settings: dict[str, str]) -> Mapping[str, str]:
    return administrator(api, settings)


def register(api: Client) -> str:
    body = {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": "correct horse battery"}
    accepted = api.post("/api/v1/users", body)
    assert api.outcome(accepted)["status"] == "succeeded"
    return accepted.headers["Location"].rpartition("/")[2]


def lane(api: Client, admin: Mapping[str, str]) -> dict[str, Any]:
    lanes = api.get("/api/v1/lanes", **admin).body["items"]
    return next(dict(found) for found in lanes if found["name"] == MAIL)


def traced(settings: dict[str, str], handle: str) -> str:
    with Program("flask", "flask", "--app", "wsgi", "trace", handle, environment=settings) as trace:
        assert trace.ended() == 0
    return trace.logs()


@pytest.mark.timeout(300)  # three workers start, one after the other
def test_mails_of_an_outage_wait_and_arrive_once_and_none_is_a_dead_letter(
    api: Client, admin: Mapping[str, str], settings: dict[str, str], port: int, mail_worker: WorkerProcess
) -> None:
    handles = [register(api) for _ in range(3)]
    eventually(lambda: lane(api, admin)["delayed"] == 3)
    (step,) = [line for line in traced(settings, handles[0]).splitlines() if "  waits  " in line]
    assert "the mail server" in step
    assert f"lane {MAIL}" in step
    assert mail_worker.logs().count("the mail server is away") in (1, 2)  # one for each process
    assert "message failed" not in mail_worker.logs()

    assert api.post(f"/api/v1/lanes/{MAIL}/pause", {"reason": "a test"}, **admin).status == 200
    mail_worker.await_log(f"Canceling queue {MAIL}")
    eventually(lambda: lane(api, admin)["ready"] == 3)
    with HangingServer(port=port) as server:
        assert api.post(f"/api/v1/lanes/{MAIL}/resume", {}, **admin).status == 200
        eventually(lambda: len(server.texts) == 3)
        eventually(lambda: lane(api, admin)["delayed"] == 0)
    recipients = [next(line for line in text.splitlines() if line.startswith(b"To: ")) for text in server.texts]
    assert len(set(recipients)) == 3
    assert api.get("/api/v1/dead-letters", **admin).body["items"] == []
