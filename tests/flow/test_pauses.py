"""A lane is paused and resumed while workers run: accepted commands wait, and nothing is lost or tried twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from kombu.transport.native_delayed_delivery import MAX_LEVEL, level_name

from tests.broker import waiting
from tests.flow.client import Answer, Client
from tests.flow.programs import administrator, beat
from tests.worker import WorkerProcess, eventually

LANE = "users.hashing.anonymous"


@pytest.fixture
def admin(api: Client, settings: dict[str, str]) -> Mapping[str, str]:
    return administrator(api, settings)


@pytest.fixture
def paused(api: Client, admin: Mapping[str, str], worker: WorkerProcess) -> Iterator[None]:
    """The lane is paused, and the worker has noticed; resumed at the end in any case."""
    mark = worker.mark()
    assert api.post(f"/api/v1/lanes/{LANE}/pause", {"reason": "a test"}, **admin).status == 200
    worker.await_log(f"Canceling queue {LANE}", mark)
    yield
    resume(api, admin)


def resume(api: Client, admin: Mapping[str, str]) -> None:
    assert api.post(f"/api/v1/lanes/{LANE}/resume", {}, **admin).status == 200


def register(api: Client) -> Answer:
    body = {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": "correct horse battery"}
    accepted = api.post("/api/v1/users", body)
    assert accepted.status == 202, accepted.content
    return accepted


def lane(api: Client, admin: Mapping[str, str]) -> dict[str, Any]:
    lanes = api.get("/api/v1/lanes", **admin).body["items"]
    return next(dict(found) for found in lanes if found["name"] == LANE)


def pending(api: Client, accepted: Answer) -> bool:
    return bool(api.get(accepted.headers["Location"]).body["status"] == "pending")


@pytest.mark.usefixtures("paused")
def test_commands_for_a_paused_lane_wait_and_are_processed_once_after_it(
    api: Client, admin: Mapping[str, str], rabbitmq_url: str
) -> None:
    dead_before = len(waiting(rabbitmq_url, "dead-letters"))
    accepted = [register(api) for _ in range(5)]
    other = api.post(f"/api/v1/users/{uuid4()}/deactivate", {}, **admin)
    assert api.outcome(other, **admin)["status"] == "failed"  # the lanes beside it go on
    assert all(pending(api, one) for one in accepted)
    assert len(waiting(rabbitmq_url, LANE)) == 5
    eventually(lambda: lane(api, admin)["consumers"] == 0)
    assert lane(api, admin)["paused"]["reason"] == "a test"

    resume(api, admin)
    assert [api.outcome(one)["status"] for one in accepted] == ["succeeded"] * 5
    eventually(lambda: lane(api, admin)["ready"] == 0)
    assert len(waiting(rabbitmq_url, "dead-letters")) == dead_before


@pytest.mark.usefixtures("paused")
def test_a_worker_that_starts_honours_a_pause_from_its_first_message_on(
    api: Client, admin: Mapping[str, str], worker: WorkerProcess
) -> None:
    accepted = register(api)
    worker.restart()
    other = api.post(f"/api/v1/users/{uuid4()}/deactivate", {}, **admin)
    assert api.outcome(other, **admin)["status"] == "failed"
    assert pending(api, accepted)
    resume(api, admin)
    assert api.outcome(accepted)["status"] == "succeeded"


def test_what_a_worker_took_before_the_pause_and_had_not_begun_waits_too(
    api: Client, admin: Mapping[str, str], worker: WorkerProcess, database_url: str
) -> None:
    user = api.outcome(register(api))["resource"]
    with psycopg.connect(database_url) as lock:
        lock.execute("lock table users in share mode")
        slow = [api.post(f"{user}/{act}", {}, **admin) for act in ("deactivate", "activate")]
        eventually(lambda: waiting_for_locks(database_url) == 2)  # both processes of the worker are busy
        accepted = register(api)
        mark = worker.mark()
        assert api.post(f"/api/v1/lanes/{LANE}/pause", {"reason": "a test"}, **admin).status == 200
        worker.await_log(f"Canceling queue {LANE}", mark)
    assert [api.outcome(one, **admin)["status"] for one in slow] == ["succeeded"] * 2
    assert pending(api, accepted)
    eventually(lambda: lane(api, admin)["unacked"] == 1)
    resume(api, admin)
    assert api.outcome(accepted)["status"] == "succeeded"


def waiting_for_locks(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        return connection.execute(waits).rowcount


def delayed_in(rabbitmq_url: str, task: str) -> int:
    """How many messages of that task RabbitMQ keeps until their next try."""
    names = (level_name(level) for level in range(MAX_LEVEL + 1))
    return sum(message.headers["task"] == task for name in names for message in waiting(rabbitmq_url, name))


def test_a_worker_is_listed_with_its_memory_and_is_gone_when_it_has_ended(
    api: Client, admin: Mapping[str, str], settings: dict[str, str]
) -> None:
    another = WorkerProcess({**settings, "LANES": "mail,codes"}, "--pool", "prefork", "--concurrency", "1")

    def listed() -> dict[str, Any] | None:
        workers = {found["name"]: found for found in api.get("/api/v1/workers", **admin).body["items"]}
        return workers.get(another.node)

    with another:
        found = eventually(listed)
        assert (found["kinds"], found["processes"], found["busy"]) == (["codes", "mail"], 1, [])
        assert found["memory_bytes"] > 20 * 2**20
        another.terminate()
    assert listed() is None


def test_a_lane_tells_when_work_last_began_there(api: Client, admin: Mapping[str, str]) -> None:
    assert api.outcome(register(api))["status"] == "succeeded"
    found = eventually(lambda: lane(api, admin)["last_taken_at"] and lane(api, admin))
    assert found["consumers"] >= 1
    assert found["wait_seconds"]["p95"] >= 0


@pytest.fixture
def beat_process(settings: dict[str, str], tmp_path: Path) -> Iterator[None]:
    with beat(settings):
        yield


@pytest.mark.usefixtures("beat_process")
def test_one_command_is_paused_while_the_others_go_on(
    api: Client, admin: Mapping[str, str], worker: WorkerProcess, rabbitmq_url: str
) -> None:
    assert api.post("/api/v1/commands/users.create_user/pause", {"reason": "a test"}, **admin).status == 204
    accepted: list[Answer] = []

    def one_waits() -> bool:
        accepted.append(register(api))
        return bool(lane(api, admin)["delayed"])

    eventually(one_waits)
    other = api.post(f"/api/v1/users/{uuid4()}/deactivate", {}, **admin)
    assert api.outcome(other, **admin)["status"] == "failed"
    worker.restart()
    assert pending(api, accepted[-1])
    assert waiting(rabbitmq_url, LANE) == []
    # What RabbitMQ delays comes back when it is due, not when the pause ends.
    assert delayed_in(rabbitmq_url, "users.create_user") == 0
    assert api.post("/api/v1/commands/users.create_user/resume", {}, **admin).status == 204
    assert {api.outcome(one)["status"] for one in accepted} == {"succeeded"}
    eventually(lambda: lane(api, admin)["delayed"] == 0)
