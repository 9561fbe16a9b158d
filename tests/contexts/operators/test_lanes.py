"""Lanes and workers, as administrators see them over HTTP and with `flask`."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from uuid_utils.compat import uuid7

from backend.kernel.delivery import lanes, timers
from backend.kernel.delivery.envelope import Depth, Envelope, Headers
from backend.kernel.delivery.pauses import Paused
from backend.kernel.delivery.sealing import Forged
from backend.kernel.observe import workers
from backend.kernel.observe.workers import Report
from backend.program import Process
from tests.client import Answer, Client
from tests.contexts.operators.conftest import ADMIN
from tests.inline import InlineQueue

LANE, MAIL = "users.hashing", "notifications.mail"
ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}


def lane(answer: Answer, name: str = LANE) -> dict[str, Any]:
    assert answer.status_code == 200, answer.json
    (found,) = (dict(item) for item in answer.json["items"] if item["name"] == name)
    return found


def report(process: Process, **changes: Any) -> None:
    """Let a worker tell of itself."""
    told: dict[str, Any] = {
        "name": "hashing@here",
        "lanes": [LANE, "maintenance"],
        "busy": [{"task": "users.create_user", "since": "2026-01-02T03:04:05Z"}],
        "held": {LANE: 2},
        "processes": 4,
        "memory_bytes": 1024,
        "started_at": datetime(2026, 1, 2, tzinfo=UTC),
        "stuck_seconds": 0,
    }
    process.resources.database.read(lambda primary: workers.report(primary, Report(**{**told, **changes})), fresh=True)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/lanes"), ("POST", f"/lanes/{LANE}/pause"), ("POST", f"/lanes/{LANE}/resume"), ("GET", "/workers")],
)
def test_lanes_and_workers_are_for_administrators_only(app: Flask, method: str, path: str) -> None:
    assert Client(app).open(method, f"/api/v1{path}").status_code == 401
    assert Client(app, "ada").open(method, f"/api/v1{path}").status_code == 403


def test_every_lane_is_listed_with_what_is_known_of_it(admin: Client, process: Process) -> None:
    names = [item["name"] for item in admin.get("/lanes").json["items"]]
    assert names == process.registry.every_lane()
    assert lane(admin.get("/lanes")) == {
        "name": LANE,
        "ready": 0,
        "unacked": 0,
        "delayed": 0,
        "consumers": 1,
        "paused": None,
        "last_taken_at": None,
        "wait_seconds": {"p50": None, "p95": None},
        "behind": None,
        "tasks": ["users.change_password"],
    }


def test_while_the_broker_is_away_its_part_is_null(admin: Client, queue: InlineQueue) -> None:
    queue.down = True
    found = lane(admin.get("/lanes"))
    assert (found["ready"], found["consumers"]) == (None, None)


def test_a_lane_tells_how_long_messages_have_waited(admin: Client, queue: InlineQueue) -> None:
    assert admin.post("/users", ADA).status_code == 201
    waited = lane(admin.get("/lanes"), queue.sent[0].lane)["wait_seconds"]
    assert 0 <= waited["p50"] <= waited["p95"] < 60


def test_a_paused_lane_says_since_when_by_whom_and_why(admin: Client) -> None:
    answer = admin.post(f"/lanes/{LANE}/pause", {"reason": "a test"})
    assert answer.status_code == 200
    assert answer.json == lane(admin.get("/lanes"))
    paused = answer.json["paused"]
    assert (paused["by"], paused["reason"]) == (str(ADMIN), "a test")
    assert datetime.fromisoformat(paused["since"]) <= datetime.now(UTC)
    again = admin.post(f"/lanes/{LANE}/pause", {"reason": "another"}).json["paused"]
    assert (again["since"], again["reason"]) == (paused["since"], "another")
    assert lane(admin.get("/lanes"), "users.commands")["paused"] is None

    for _ in range(2):
        resumed = admin.post(f"/lanes/{LANE}/resume")
        assert (resumed.status_code, resumed.json["paused"]) == (200, None)


def test_a_lane_that_does_not_exist_is_404_and_a_pause_needs_a_reason(admin: Client) -> None:
    for answer in (admin.post("/lanes/nobodys.lane/pause", {"reason": "x"}), admin.post("/lanes/nobodys.lane/resume")):
        assert (answer.status_code, answer.json["code"]) == (404, "lane_not_found")
    assert admin.post("/lanes/nobodys.lane/pause", {}).status_code == 404
    for body in (
        {},
        {"reason": " "},
        {"reason": "\x1b[2Jx"},
        {"reason": "x" * 501},
        {"reason": 1},
        {"reason": "x", "more": 1},
    ):
        assert admin.post(f"/lanes/{LANE}/pause", body).status_code == 422


def test_pauses_are_in_the_audit_log_with_their_lane(admin: Client) -> None:
    admin.post(f"/lanes/{LANE}/pause", {"reason": "a test"})
    admin.post(f"/lanes/{LANE}/resume")
    admin.post("/lanes/nobodys.lane/resume")
    entries = admin.get("/audit").json["items"]
    assert [(entry["action"], entry["detail"], entry["outcome"], entry["actor"]) for entry in entries] == [
        ("lanes.resume", "nobodys.lane", "lane_not_found", str(ADMIN)),
        ("lanes.resume", LANE, "succeeded", str(ADMIN)),
        ("lanes.pause", LANE, "succeeded", str(ADMIN)),
    ]


def test_workers_are_listed_with_what_they_do(admin: Client, process: Process) -> None:
    assert admin.get("/workers").json == {"items": []}
    report(process)
    (found,) = admin.get("/workers").json["items"]
    assert datetime.fromisoformat(found.pop("seen_at")) <= datetime.now(UTC)
    assert abs(found.pop("clock_ahead_seconds")) < 5
    assert found == {
        "name": "hashing@here",
        "kinds": ["hashing", "maintenance"],
        "busy": [{"task": "users.create_user", "since": "2026-01-02T03:04:05Z"}],
        "processes": 4,
        "memory_bytes": 1024,
        "started_at": "2026-01-02T00:00:00Z",
    }
    assert lane(admin.get("/lanes"))["unacked"] == 2


def test_a_worker_that_was_not_heard_of_is_no_longer_counted_and_then_no_longer_shown(
    admin: Client, process: Process
) -> None:
    report(process)
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql("update workers set seen_at = now() - interval '1 minute'")
    assert lane(admin.get("/lanes"))["unacked"] == 0
    assert len(admin.get("/workers").json["items"]) == 1
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql("update workers set seen_at = now() - interval '6 minutes'")
    assert admin.get("/workers").json["items"] == []


def test_operators_see_pause_and_resume_with_flask(flask: Callable[..., str], admin: Client, process: Process) -> None:
    report(process)
    assert flask("lanes", "pause", LANE, "--reason", "a test") == f"{LANE}  paused\n"
    assert lane(admin.get("/lanes"))["paused"]["by"] is None
    (line,) = [line for line in flask("lanes", "list").splitlines() if line.startswith(f"{LANE} ")]
    assert "by an operator: a test" in line
    assert flask("lanes", "resume", LANE) == f"{LANE}  resumed\n"
    assert "1 to 500 characters" in flask("lanes", "pause", LANE, "--reason", "", exit_code=2)
    assert "control characters" in flask("lanes", "pause", LANE, "--reason", "a\x1b[2Jtest", exit_code=2)
    assert "lane does not exist" in flask("lanes", "resume", "nobodys.lane", exit_code=1)
    assert "users.create_user" in flask("workers")


def test_a_lane_is_behind_if_nothing_is_taken_although_messages_wait(
    admin: Client, queue: InlineQueue, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "depths", lambda names, _deadline: {name: Depth(7, 1) for name in names})
    assert lane(admin.get("/lanes"))["behind"] == {"seconds": None, "since": None}
    taken = {LANE: timedelta(minutes=3)}
    process.resources.database.read(lambda primary: lanes.note_taken(primary, taken), fresh=True)
    behind = lane(admin.get("/lanes"))["behind"]
    assert 180 <= behind["seconds"] < 240
    since = datetime.now(UTC) - datetime.fromisoformat(behind["since"])
    assert timedelta(minutes=3) <= since < timedelta(minutes=4)


def test_prometheus_is_told_within_seconds_of_a_lane_in_which_messages_wait_and_none_begins(
    admin: Client, queue: InlineQueue, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behind(name: str) -> float:
        (line,) = [
            one for one in admin.get("/metrics").text.splitlines() if f'lane_behind_seconds{{lane="{name}"' in one
        ]
        return float(line.split()[-1])

    taken = {LANE: timedelta(minutes=3), MAIL: timedelta(seconds=1), "users.commands": timedelta(minutes=3)}
    process.resources.database.read(lambda primary: lanes.note_taken(primary, taken), fresh=True)
    assert behind(LANE) == 0  # nothing waits
    monkeypatch.setattr(queue, "depths", lambda names, _deadline: {name: Depth(7, 1) for name in names})
    assert 180 <= behind(LANE) < 240
    assert behind(MAIL) == 0
    assert math.isinf(behind("notifications.codes"))
    admin.post(f"/lanes/{LANE}/pause", {"reason": "a test"})
    assert behind(LANE) == 0
    queue.down = True
    monkeypatch.undo()
    assert behind("users.commands") == 0


def test_messages_that_a_worker_has_taken_and_does_not_begin_wait_as_well(admin: Client, process: Process) -> None:
    def is_behind() -> bool:
        told = "late" if lane(admin.get("/lanes"))["behind"] else "in time"
        line = f'lane_behind_seconds{{lane="{LANE}"}} 0.0'
        assert (line in admin.get("/metrics").text) == (told == "in time")
        return told == "late"

    taken = {LANE: timedelta(minutes=3)}
    process.resources.database.read(lambda primary: lanes.note_taken(primary, taken), fresh=True)
    busy = [{"task": "users.change_password", "since": "2026-01-02T03:04:05Z"}]
    report(process, held={LANE: 1}, busy=busy)
    assert not is_behind()
    report(process, held={LANE: 1}, busy=[])
    assert is_behind()
    (warned,) = [one for one in admin.get("/status").json["warnings"] if one["code"] == "commands_late"]
    assert warned["about"] == LANE
    assert warned["detail"].startswith("Messages wait, and no worker has taken one for ")


def test_a_lane_is_behind_since_its_messages_wait_too_long(
    admin: Client, ended: Callable[..., UUID], flask: Callable[..., str]
) -> None:
    name = "users.hashing.anonymous"
    for ago, waited in ((60, 9), (130, 8), (250, 7), (400, 0.1), (900, 20)):
        ended(ago=ago, took=waited, waited=waited)
    behind = lane(admin.get("/lanes"), name)["behind"]
    assert 8 < behind["seconds"] <= 9
    assert 240 <= (datetime.now(UTC) - datetime.fromisoformat(behind["since"])).total_seconds() <= 330
    (line,) = [line for line in flask("lanes", "list").splitlines() if line.startswith(f"{name} ")]
    assert "9 s, since" in line
    assert lane(admin.get("/lanes"))["behind"] is None


def test_the_last_hour_of_a_lane_is_told_by_minute(
    admin: Client, ended: Callable[..., UUID], flask: Callable[..., str]
) -> None:
    for ago, waited in ((10, 1), (20, 3), (30 * 60 + 10, 2), (2 * 3600, 9)):
        ended(ago=ago, took=waited, waited=waited)
    found = lane(admin.get("/lanes/history"), "users.hashing.anonymous")
    assert (len(found["finished"]), len(found["wait_p95"])) == (60, 60)
    assert (found["finished"][-1], found["finished"][-31], sum(found["finished"])) == (2, 1, 3)
    assert found["wait_p95"][-1] == pytest.approx(2.9)
    assert found["wait_p95"][-2] is None
    assert found["per_minute"] == 0.4
    (line,) = [one for one in flask("lanes", "history").splitlines() if one.startswith("users.hashing.anonymous ")]
    assert line.split()[1:3] == ["0.4", "2"]


def test_the_last_hour_is_what_a_count_by_hand_gives(admin: Client, ended: Callable[..., UUID]) -> None:
    lane_of = {"users.create_user": "users.hashing.anonymous", "users.activate_user": "users.commands"}
    waited: dict[tuple[str, int], list[float]] = {}
    for number in range(60):
        name, minute = list(lane_of)[number % 2], number % 7 * 8
        seconds = number**2 % 41 / 4
        ended(name, ago=minute * 60 + 20, took=seconds, waited=seconds)
        waited.setdefault((lane_of[name], minute), []).append(seconds)
    for name in lane_of.values():
        found = lane(admin.get("/lanes/history"), name)
        for minute in range(60):
            by_hand = waited.get((name, minute), [])
            assert found["finished"][59 - minute] == len(by_hand)
            p95 = quantiles(by_hand, n=20, method="inclusive")[18] if by_hand else None
            assert found["wait_p95"][59 - minute] == (p95 if p95 is None else pytest.approx(p95))


def test_messages_of_a_paused_command_are_set_aside_and_sent_by_the_first_sweep_after_the_pause(
    admin: Client, process: Process, queue: InlineQueue
) -> None:
    queue.down = True
    accepted = admin.post("/users", ADA, Prefer="respond-async").json
    (message,) = process.resources.database.read(
        lambda primary: primary.execute("delete from outbox returning id, name, queue, body, headers").fetchall()
    )
    message_id, name, queue_name, body, headers = message
    envelope = Envelope(message_id, name, queue_name, body, Headers.parse(headers))
    queue.down = False
    assert admin.post("/commands/users.create_user/pause", {"reason": "a test"}).status_code == 204
    with pytest.raises(Paused):
        process.receiver.check_pause("users.create_user")
    for _ in range(2):  # its acknowledgement was lost
        process.receiver.set_aside(envelope)

    queue.sweep()
    assert queue.sent == []
    assert lane(admin.get("/lanes"), envelope.lane)["delayed"] == 1
    (step,) = admin.get(f"/traces/{accepted['id']}").json["steps"]
    assert (step["what"], "until operators resume users.create_user" in step["detail"]) == ("waits", True)

    assert admin.post("/commands/users.create_user/resume").status_code == 204
    process.sweep()
    queue.drain()
    assert admin.get(f"/operations/{accepted['id']}").json["status"] == "succeeded"
    assert lane(admin.get("/lanes"), envelope.lane)["delayed"] == 0


def test_a_message_that_nobody_of_us_wrote_is_not_set_aside(process: Process) -> None:
    with pytest.raises(Forged):
        process.receiver.set_aside(Envelope(uuid7(), "users.create_user", LANE, {}, Headers()))


def test_what_is_due_waits_for_the_end_of_a_pause(admin: Client, process: Process) -> None:
    """More of it than one statement moves."""
    timer = """
        insert into timers (id, due_at, queue, name, body, headers)
        select gen_random_uuid(), now(), 'users.commands', 'users.delete_user', '{}', '{}' from generate_series(1, 1200)
    """
    process.resources.database.read(lambda primary: primary.execute(timer), fresh=True)
    assert admin.post("/commands/users.delete_user/pause", {"reason": "a test"}).status_code == 204
    assert process.sweep() == 0
    assert admin.post("/commands/users.delete_user/resume").status_code == 204
    assert timers.move_due(process.resources.database) == timers.BATCH


def test_one_command_is_paused_and_shown_as_such(admin: Client, flask: Callable[..., str]) -> None:
    assert admin.post("/commands/users.create_user/pause", {"reason": "a test"}).status_code == 204
    (paused,) = admin.get("/lanes").json["paused_commands"]
    assert (paused["name"], paused["by"], paused["reason"]) == ("users.create_user", str(ADMIN), "a test")
    assert admin.open("GET", "/health/ready").json["paused"] == ["users.create_user"]
    assert "users.create_user" in flask("lanes", "list")
    (entry,) = admin.get("/audit", {"action": "commands.pause"}).json["items"]
    assert entry["detail"] == "users.create_user"

    assert "resumed" in flask("lanes", "resume", "users.create_user")
    assert admin.get("/lanes").json["paused_commands"] == []
    assert "paused" not in admin.open("GET", "/health/ready").json
    assert admin.post("/commands/users.nothing/pause", {"reason": "a test"}).status_code == 404
