"""Whoever is signed in is served while the anonymous flood: over RabbitMQ and a worker."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from tests.broker import RabbitMQ
from tests.flow.client import Answer, Client
from tests.flow.programs import ApiProcess
from tests.worker import WorkerProcess, environment

PASSWORD = "correct horse battery"
_FLOOD = 150


@pytest.fixture
def vhost(private_rabbitmq: RabbitMQ) -> Iterator[str]:
    with private_rabbitmq.vhost() as url:
        yield url


@pytest.fixture
def api(clean_database: str, vhost: str) -> Iterator[Client]:
    """The API, without a worker."""
    with ApiProcess(environment(BROKER_URL=vhost, DATABASE_URL=clean_database)) as process:
        yield process.client


@pytest.fixture
def worker(clean_database: str, vhost: str) -> WorkerProcess:
    settings = environment(BROKER_URL=vhost, DATABASE_URL=clean_database)
    return WorkerProcess(settings, "--pool", "prefork", "--concurrency", "1")


def test_a_change_of_password_does_not_wait_for_the_registrations_before_it(
    api: Client, worker: WorkerProcess, clean_database: str
) -> None:
    """One process takes both kinds of work, in turn."""
    with worker:
        ada = _register(api, Prefer="wait=10")
        assert ada.status == 201, ada.content
    tokens = api.post("/api/v1/auth/login", {"email": ada.body["email"], "password": PASSWORD}).body
    signed_in = {"Authorization": f"Bearer {tokens['access_token']}"}

    with ThreadPoolExecutor(8) as strangers:
        flood = list(strangers.map(lambda _: _register(api).status, range(_FLOOD)))
    assert flood == [202] * _FLOOD
    passwords = {"old_password": PASSWORD, "new_password": "another horse battery"}
    accepted = api.put("/api/v1/auth/change-password", passwords, **signed_in)

    with worker, psycopg.connect(clean_database) as database:
        assert api.outcome(accepted, **signed_in)["status"] == "succeeded"
        before = database.execute(
            "select count(*) from operations where name = 'users.create_user' and finished_at <"
            " (select finished_at from operations where name = 'users.change_password')"
        ).fetchone()
    assert before is not None
    assert before[0] < 20


def test_a_full_lane_is_503_and_the_other_lanes_are_not(
    api: Client, private_rabbitmq: RabbitMQ, vhost: str, clean_database: str
) -> None:
    """A lane of anonymous work is bounded; here an operator's policy bounds it tighter."""
    bound = ("set_policy", "-p", urlsplit(vhost).path[1:], "bound", "anonymous$", '{"max-length": 3}')
    private_rabbitmq.control(*bound, "--apply-to", "queues")
    asked = [api.post("/api/v1/auth/forgot-password", {"email": "ada@example.com"}) for _ in range(20)]
    assert {answer.status for answer in asked} == {202, 503}
    assert all(answer.headers["Retry-After"] for answer in asked if answer.status == 503)
    assert asked[-1].status == 503
    assert _register(api).status == 202
    with psycopg.connect(clean_database) as database:
        assert database.execute("select name from outbox").fetchall() == []


def _register(api: Client, **headers: str) -> Answer:
    email = f"{uuid4().hex}@example.com"
    return api.post("/api/v1/users", {"name": "Ada", "email": email, "password": PASSWORD}, **headers)
