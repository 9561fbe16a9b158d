"""What a worker answers about itself, without asking anybody: its health, and the figures of all its processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.broker import RabbitMQ
from tests.flow.client import Client
from tests.flow.programs import ApiProcess, free_port
from tests.worker import WorkerProcess, environment, eventually

LANE, TASK = "users.hashing.anonymous", "users.create_user"


@pytest.fixture(scope="module")
def worker_address() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def vhost(private_rabbitmq: RabbitMQ) -> Iterator[str]:
    with private_rabbitmq.vhost() as url:
        yield url


@pytest.fixture(scope="module")
def programs(
    vhost: str, database_url: str, worker_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """The API, and a worker with two processes that answers at `worker_address`."""
    mail: Path = tmp_path_factory.mktemp("mail")
    settings = environment(BROKER_URL=vhost, DATABASE_URL=database_url, MAIL_URL=f"file:{mail}")
    health = {
        "HEALTH_PORT": worker_address.rpartition(":")[2],
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("metrics")),
    }
    worker = WorkerProcess({**settings, **health}, "--pool", "prefork", "--concurrency", "2")
    with ApiProcess(settings) as api, worker:
        yield api.client


@pytest.fixture
def api(programs: Client, clean_database: str) -> Client:
    return programs


@pytest.fixture
def worker(programs: Client, worker_address: str) -> Client:
    return Client(worker_address)


def figures(client: Client) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def figure(client: Client, name: str, **labels: str) -> float:
    return figures(client).get((name, frozenset(labels.items())), 0)


def register(api: Client, email: str) -> str:
    accepted = api.post("/api/v1/users", {"name": "Ada", "email": email, "password": "correct horse battery"})
    return str(api.outcome(accepted)["status"])


def test_the_figures_of_a_worker_are_those_of_all_its_processes(api: Client, worker: Client) -> None:
    def counted(outcome: str) -> float:
        return figure(worker, "messages_total", task=TASK, outcome=outcome)

    succeeded, refused = counted("succeeded"), counted("refused")
    waited = figure(worker, "message_wait_seconds_count", lane=LANE)
    emails = [f"{uuid4().hex}@example.com" for _ in range(8)]
    assert [register(api, email) for email in emails] == ["succeeded"] * 8
    assert register(api, emails[0]) == "failed"

    assert (counted("succeeded"), counted("refused")) == (succeeded + 8, refused + 1)
    assert figure(worker, "message_wait_seconds_count", lane=LANE) == waited + 9
    assert figure(worker, "command_seconds_count", command=TASK, status="succeeded") >= 8
    assert figure(worker, "command_seconds_count", command=TASK, status="failed") >= 1
    assert figure(worker, "handler_seconds_count", task=TASK) >= 9
    assert 0 < figure(worker, "handler_seconds_sum", task=TASK) < 60
    assert figure(worker, "transaction_seconds_count") >= 9
    assert figure(worker, "publish_seconds_count") >= 8  # their events
    assert figure(worker, "processes_memory_bytes") > 50 * 2**20
    assert figure(api, "publish_seconds_count") >= 9


def test_the_api_tells_how_deep_each_lane_is_and_who_takes_from_it(api: Client) -> None:
    assert register(api, f"{uuid4().hex}@example.com") == "succeeded"
    assert eventually(lambda: figure(api, "lane_consumers", lane=LANE)) == 1
    assert figure(api, "lane_messages", lane=LANE, state="ready") == 0
    eventually(lambda: ("lane_last_taken_age_seconds", frozenset({("lane", LANE)})) in figures(api))
    assert figure(api, "lane_paused", lane=LANE) == 0


def test_a_worker_is_well_while_it_makes_progress(worker: Client) -> None:
    answer = worker.get("/health")
    assert (answer.status, answer.body) == (200, {"status": "ok", "loop": "ok", "broker": "ok", "pool": "ok"})
    assert worker.get("/health/live").body == {"status": "ok", "loop": "ok", "pool": "ok"}
    assert worker.get("/elsewhere").status == 404


def test_a_worker_says_that_its_broker_is_away_and_is_well_again_afterwards(
    worker: Client, private_rabbitmq: RabbitMQ
) -> None:
    with private_rabbitmq.stopped():
        assert eventually(lambda: worker.get("/health").status == 503)
        assert worker.get("/health").body["broker"] == "away"
        assert worker.get("/health/live").status == 200  # a restart brings no broker back
    assert eventually(lambda: worker.get("/health").status == 200)
