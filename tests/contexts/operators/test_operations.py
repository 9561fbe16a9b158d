"""What operators ask about operations: statistics, a search, the timeline of a request, cancelling."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from backend.contexts.operators.infrastructure import statistics
from backend.program import Process
from tests.client import Client
from tests.contexts.operators.conftest import ADMIN
from tests.inline import InlineQueue

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
Ended = Callable[..., UUID]
Flask_ = Callable[..., str]


def stats(admin: Client, **query: Any) -> dict[str, Any]:
    answer = admin.get("/operations/stats", query)
    assert answer.status_code == 200, answer.json
    return {item.pop("command"): item for item in answer.json["items"]}


@pytest.mark.parametrize("path", ["/operations/stats", "/traces/anything"])
def test_only_administrators_ask(app: Flask, path: str) -> None:
    assert Client(app).get(path).status_code == 401
    assert Client(app, "ada").get(path).status_code == 403


def test_statistics_tell_by_command_how_many_ended_how_fast_and_why_not(admin: Client, ended: Ended) -> None:
    for took in range(1, 101):
        ended(took=took / 10)
    for _ in range(3):
        ended(code="email_taken")
    ended(code="username_taken")
    ended("users.delete_user", code="last_admin", ago=90 * 60)
    ended("notifications.mail_verification_link")
    found = stats(admin)
    assert list(found) == ["users.create_user"]
    one = found["users.create_user"]
    assert (one["succeeded"], one["failed"]) == (100, 4)
    assert one["problems"] == {"email_taken": 3, "username_taken": 1}
    assert (one["p50"], one["p95"]) == (pytest.approx(5, abs=0.3), pytest.approx(9.4, abs=0.3))
    assert list(stats(admin, minutes=120)) == ["users.create_user", "users.delete_user"]


def test_statistics_say_since_when_they_count(admin: Client) -> None:
    since = datetime.fromisoformat(admin.get("/operations/stats", {"minutes": 30}).json["since"])
    assert abs(datetime.now(UTC) - timedelta(minutes=30) - since) < timedelta(minutes=1)
    for minutes in (0, 1441, "x"):
        answer = admin.get("/operations/stats", {"minutes": minutes})
        assert (answer.status_code, answer.json["errors"][0]["parameter"]) == (422, "minutes")


def test_no_more_than_the_newest_operations_are_counted(process: Process, ended: Ended) -> None:
    for ago in (5, 10, 20):
        ended(ago=ago)
    window = timedelta(hours=1)
    found = process.resources.database.read(
        lambda primary: statistics.of_commands(primary, ["users.create_user"], window, most=2), fresh=True
    )
    assert [one.succeeded for one in found.items] == [2]
    assert timedelta(seconds=9) < datetime.now(UTC) - found.since < timedelta(seconds=19)


def test_a_timeline_is_found_by_request_by_operation_and_by_handle(admin: Client, flask: Flask_) -> None:
    answer = admin.post("/users", ADA, Prefer="respond-async", X_Request_ID="from-a-test")
    handle = answer.json["id"]
    assert admin.get(f"/operations/{handle}", Prefer="wait=10").json["status"] == "succeeded"
    (listed,) = admin.get("/operations", {"request_id": "from-a-test"}).json["items"]
    operation_id = listed["resource"].rpartition("/")[2]
    for name in ("from-a-test", handle, operation_id):
        found = admin.get(f"/traces/{name}").json
        assert found["request_ids"] == ["from-a-test"]
        steps = [step["what"] for step in found["steps"]]
        assert steps.index("accepted") < steps.index("taken") < steps.index("succeeded")
        assert "audited" in steps
        assert "request from-a-test" in flask("trace", name)


def test_what_names_nothing_has_an_empty_timeline(admin: Client) -> None:
    found = admin.get("/traces/nothing-of-ours").json
    assert (found["request_ids"], found["steps"]) == ([], [])
    assert "nothing is stored" in found["unknown"]


def test_operations_are_found_by_id_and_by_time(admin: Client, ended: Ended) -> None:
    old, recent = ended(ago=3 * 3600), ended(ago=60)

    def found(**query: str) -> list[str]:
        return [item["finished_at"] for item in admin.get("/operations", query).json["items"]]

    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert found(id=str(old)) == found(until=an_hour_ago)
    assert found(id=str(recent)) == found(since=an_hour_ago)
    assert found(id=str(UUID(int=1))) == []


def test_operators_list_and_count_with_flask(flask: Flask_, ended: Ended) -> None:
    taken, done = ended(code="email_taken", request_id="from-a-test"), ended(took=2)
    lines = flask("operations", "list").splitlines()
    assert [line.split()[-1] for line in lines[1:]] in ([str(taken), str(done)], [str(done), str(taken)])
    (line,) = flask("operations", "list", "--status", "failed").splitlines()[1:]
    assert "failed email_taken" in line
    assert "from-a-test" in line
    assert flask("operations", "list", "--until", "2026-01-01").splitlines()[1:] == []
    (line,) = flask("operations", "stats", "--minutes", "5").splitlines()[2:]
    assert line.split()[:3] == ["users.create_user", "1", "1"]
    assert line.endswith("1 email_taken")


def test_an_operator_cancels_what_no_worker_has_finished(flask: Flask_, admin: Client, queue: InlineQueue) -> None:
    queue.down = True
    handle = admin.post("/users", ADA, Prefer="respond-async").json["id"]
    assert flask("operations", "cancel", handle) == "cancelled\n"
    assert admin.get(f"/operations/{handle}").json["error"]["code"] == "cancelled"
    assert "outcome" in flask("operations", "cancel", handle, exit_code=1)
    assert "No operation has this handle" in flask("operations", "cancel", "no-handle", exit_code=1)
    assert admin.post(f"/operations/{handle}/cancel").status_code == 409
    entries = [one for one in admin.get("/audit").json["items"] if one["action"] == "operations.cancel"]
    assert [(one["outcome"], one["actor"], one["detail"]) for one in reversed(entries)] == [
        ("succeeded", None, "users.create_user"),
        ("operation_finished", None, "users.create_user"),
        ("operation_finished", str(ADMIN), "users.create_user"),
    ]
    assert len({one["about"] for one in entries}) == 1
    queue.down = False
