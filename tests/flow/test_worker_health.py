"""What a worker answers about itself, without asking anybody: its health, and the figures of all its processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import psycopg
import pytest
from kombu import Connection, Exchange, Queue
from prometheus_client.parser import text_string_to_metric_families

from tasks.lanes import COMMANDS
from tests.broker import RabbitMQ
from tests.flow.client import Client
from tests.flow.programs import ApiProcess, administrator, beat, free_port
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
    with ApiProcess(settings) as api, worker, beat(settings):
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


def accept(api: Client, **headers: str) -> bool:
    body = {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": "correct horse battery"}
    return api.post("/api/v1/users", body, **headers).status in (201, 202)


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


def test_the_depth_of_a_lane_and_who_waits_for_it_are_shown(
    api: Client, worker: Client, vhost: str, database_url: str
) -> None:
    admin = administrator(api, environment(BROKER_URL=vhost, DATABASE_URL=database_url))
    retried = figure(worker, "messages_total", task=TASK, outcome="retried")
    assert api.post(f"/api/v1/commands/{TASK}/pause", {"reason": "a test"}, **admin).status == 204
    eventually(lambda: accept(api) and figure(api, "lane_messages", lane=LANE, state="delayed") > 0)
    assert figure(api, "command_paused", command=TASK) == 1
    assert figure(worker, "messages_total", task=TASK, outcome="retried") > retried
    assert api.post(f"/api/v1/lanes/{LANE}/pause", {"reason": "a test"}, **admin).status == 200
    eventually(lambda: figure(api, "lane_consumers", lane=LANE) == 0)
    waiting = figure(api, "lane_messages", lane=LANE, state="ready")
    assert [accept(api) for _ in range(3)] == [True] * 3
    eventually(lambda: figure(api, "lane_messages", lane=LANE, state="ready") == waiting + 3)
    assert figure(api, "lane_paused", lane=LANE) == 1

    with ThreadPoolExecutor() as threads:
        asked = [threads.submit(accept, api, Prefer="wait=10") for _ in range(2)]
        eventually(lambda: figure(api, "waiting_slots_in_use") == 2)
        assert api.post(f"/api/v1/commands/{TASK}/resume", {}, **admin).status == 204
        assert api.post(f"/api/v1/lanes/{LANE}/resume", {}, **admin).status == 200
        assert all(one.result() for one in asked)
    eventually(lambda: figure(api, "waiting_slots_in_use") == 0)
    eventually(lambda: figure(api, "lane_messages", lane=LANE, state="ready") == 0)
    assert figure(api, "command_paused", command=TASK) == 0


def test_messages_that_workers_have_taken_are_shown(api: Client, database_url: str) -> None:
    assert register(api, f"{uuid4().hex}@example.com") == "succeeded"
    with psycopg.connect(database_url) as lock:
        lock.execute("lock table users in share mode")
        for _ in range(4):  # more than it has processes
            assert accept(api)
        eventually(lambda: figure(api, "lane_messages", lane=LANE, state="unacked") == 2)
        eventually(lambda: figure(api, "lane_messages", lane=LANE, state="ready") == 2)
    eventually(lambda: figure(api, "lane_messages", lane=LANE, state="unacked") == 0)


def test_a_worker_whose_processes_are_stopped_is_named_and_works_again_once_they_are_killed(
    api: Client, worker: Client, vhost: str, database_url: str
) -> None:
    admin = administrator(api, environment(BROKER_URL=vhost, DATABASE_URL=database_url))

    def stuck() -> list[str]:
        warnings = api.get("/api/v1/status", **admin).body["warnings"]
        return [one["about"] for one in warnings if one["code"] == "worker_stuck"]

    assert register(api, f"{uuid4().hex}@example.com") == "succeeded"
    (main,) = (one for one in psutil.Process().children() if "worker" in one.cmdline())
    children = main.children()
    for child in children:
        child.suspend()
    accepted = api.post(
        "/api/v1/users", {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
    )
    try:
        assert eventually(stuck) == [eventually(lambda: api.get("/api/v1/workers", **admin).body["items"])[0]["name"]]
        assert worker.get("/health").body["loop"] == "ok"
    finally:
        for child in children:
            child.kill()  # the main process replaces them
    assert api.outcome(accepted)["status"] == "succeeded"
    eventually(lambda: not stuck())


def test_copies_and_what_no_worker_can_process_are_counted(api: Client, worker: Client, vhost: str) -> None:
    def counted(outcome: str) -> float:
        return figure(worker, "messages_total", task=TASK, outcome=outcome)

    duplicates, succeeded = counted("duplicate"), counted("succeeded")
    with Connection(vhost) as connection, connection.channel() as channel:
        copies = Queue("copies", Exchange(COMMANDS, type="topic"), LANE, exclusive=True)(channel)
        copies.declare()
        assert register(api, f"{uuid4().hex}@example.com") == "succeeded"
        message = channel.basic_get(copies.name)
        for _ in range(3):
            channel.basic_publish(message, "", LANE)
        message.properties["application_headers"]["id"] = str(uuid4())  # is no longer what was signed
        channel.basic_publish(message, "", LANE)
    eventually(lambda: counted("duplicate") == duplicates + 3)
    eventually(lambda: figure(api, "dead_letters_open") == 1)
    assert counted("succeeded") == succeeded + 1


def test_the_memory_is_that_of_the_worker_and_its_children(api: Client, worker: Client) -> None:
    (main,) = (one for one in psutil.Process().children() if "worker" in one.cmdline())
    used = sum(one.memory_full_info().pss for one in (main, *main.children(recursive=True)))
    assert figure(worker, "processes_memory_bytes") == pytest.approx(used, rel=0.2)
    assert (figure(api, "listeners"), figure(api, "listeners_connected"), figure(api, "broker_up")) == (1, 1, 1)


def test_who_is_refused_is_shown(api: Client) -> None:
    def refused(problem: str) -> float:
        return figure(api, "requests_refused_total", problem=problem)

    wrong, throttled = refused("invalid_credentials"), refused("too_many_attempts")
    for _ in range(7):  # five of them are let through
        api.post("/api/v1/auth/login", {"email": "nobody@example.com", "password": "wrong"})
    assert (refused("invalid_credentials"), refused("too_many_attempts")) == (wrong + 5, throttled + 2)


def test_what_an_absent_broker_leaves_in_the_outbox_is_shown(
    api: Client, worker: Client, private_rabbitmq: RabbitMQ
) -> None:
    spooled = figure(api, "commands_accepted_total", command=TASK, way="spool")
    began = monotonic()
    with private_rabbitmq.stopped():
        eventually(lambda: accept(api) and figure(api, "breakers_open", server="broker") == 1)
        accepted = figure(api, "commands_accepted_total", command=TASK, way="spool") - spooled
        assert accepted > 0
        assert figure(api, "outbox_rows") == accepted
        age = figure(api, "outbox_oldest_age_seconds")
        assert 0 < age < monotonic() - began
        assert eventually(lambda: figure(api, "outbox_oldest_age_seconds")) > age
        eventually(lambda: figure(api, "broker_up") == 0)
    eventually(lambda: accept(api) and figure(api, "breakers_open", server="broker") == 0)
    eventually(lambda: worker.get("/health").status == 200)


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


def test_a_worker_whose_vhost_is_gone_tries_again_less_and_less_often_and_works_when_it_is_back(
    private_rabbitmq: RabbitMQ, clean_database: str, tmp_path: Path
) -> None:
    with private_rabbitmq.vhost() as url:
        settings = environment(BROKER_URL=url, DATABASE_URL=clean_database, MAIL_URL=f"file:{tmp_path}/mail")
        name = urlsplit(url).path[1:]
        with WorkerProcess(settings, "--pool", "solo") as worker:
            private_rabbitmq.control("delete_vhost", name)
            refused = eventually(lambda: _refusals(worker)[2:])
            gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(_refusals(worker))]
            assert refused
            assert gaps[0] >= 2
            assert gaps[1] >= 4
            private_rabbitmq.control("add_vhost", name)
            private_rabbitmq.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
            with ApiProcess(settings) as api:
                assert register(api.client, "ada@example.com") == "succeeded"
            worker.terminate()


def _refusals(worker: WorkerProcess) -> list[datetime]:
    """When the worker said that the broker refused it."""
    lines = (json.loads(line) for line in worker.logs().splitlines() if line.startswith("{"))
    return [datetime.fromisoformat(line["timestamp"]) for line in lines if "Cannot connect" in line["event"]]


_WITHOUT_ROOM = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_housekeeping_goes_on_where_beat_can_write_no_file(
    private_rabbitmq: RabbitMQ, clean_database: str, tmp_path: Path
) -> None:
    """As on a disk that is full."""
    with private_rabbitmq.vhost() as url:
        settings = environment(BROKER_URL=url, DATABASE_URL=clean_database, MAIL_URL=f"file:{tmp_path}/mail")
        schedule = beat(settings)
        schedule.inside = (sys.executable, "-c", _WITHOUT_ROOM)
        with WorkerProcess(settings, "--pool", "solo"), schedule, psycopg.connect(clean_database) as database:
            database.autocommit = True
            eventually(lambda: database.execute("select from schedule where result = 'succeeded'").rowcount)
            assert schedule.running
