"""PostgreSQL or RabbitMQ goes away and comes back: what was accepted is carried out."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.broker import RabbitMQ
from tests.flow.client import Answer, Client
from tests.flow.programs import ApiProcess, beat
from tests.worker import Program, WorkerProcess, environment

if TYPE_CHECKING:
    from tests.postgres import Postgres

_DEADLINE = 2.0
_SLACK = 1.5
"""Seconds of a busy machine, on top of the deadline."""


@pytest.fixture(scope="module")
def vhost(private_rabbitmq: RabbitMQ) -> Iterator[str]:
    with private_rabbitmq.vhost() as url:
        yield url


@pytest.fixture
def api(
    postgres_server: Postgres, vhost: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Client:
    """The API, a worker and beat, on servers that can be taken away."""
    process: ApiProcess = request.getfixturevalue("programs")
    return process.client


@pytest.fixture(scope="module")
def programs(
    _embedded_postgres: Postgres, vhost: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiProcess]:
    settings = environment(BROKER_URL=vhost, DATABASE_URL=_embedded_postgres.url)
    worker = WorkerProcess(settings, "--pool", "prefork", "--concurrency", "1")
    schedule: Program = beat(settings)
    with ApiProcess(settings) as process, worker, schedule:
        yield process


def test_without_postgresql_a_command_is_accepted_and_carried_out_when_it_is_back(
    api: Client, postgres_server: Postgres
) -> None:
    """Database away, broker there: accepted; the worker waits for the database."""
    postgres_server.stop()
    accepted = _register(api)
    assert accepted.status == 202, accepted.content
    postgres_server.start()
    assert api.outcome(accepted)["status"] == "succeeded"


def test_without_rabbitmq_a_command_is_spooled_and_carried_out_when_it_is_back(
    api: Client, private_rabbitmq: RabbitMQ
) -> None:
    """Broker away: the message is spooled into the outbox table instead and relayed later."""
    with private_rabbitmq.stopped():
        accepted = _register(api)
        assert accepted.status == 202, accepted.content
    assert api.outcome(accepted)["status"] == "succeeded"


def test_without_both_the_answer_is_503_within_the_deadline(
    api: Client, private_rabbitmq: RabbitMQ, postgres_server: Postgres
) -> None:
    """`503` with `Retry-After`: nothing was accepted, and nobody waited longer than the deadline."""
    with private_rabbitmq.stopped():
        postgres_server.stop()
        started = monotonic()
        refused = _register(api)
        assert monotonic() - started < _DEADLINE + _SLACK
        postgres_server.start()
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["Content-Type"] == "application/problem+json"


def _register(api: Client) -> Answer:
    email = f"{uuid4().hex}@example.com"
    return api.post("/api/v1/users", {"name": "Ada", "email": email, "password": "correct horse battery"})
