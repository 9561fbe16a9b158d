"""What needs attention, in one answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from flask import Flask

from backend.kernel.delivery import lanes
from backend.kernel.delivery.envelope import Depth, MessageRefused
from backend.kernel.observe import workers
from backend.kernel.observe.workers import Report
from backend.program import Process
from tests.client import Client
from tests.inline import InlineQueue
from tests.program import another_process
from tests.settings import settings_with
from tests.standby import Pair
from tests.worker import eventually

MAIL = "notifications.mail"


def warnings(admin: Client) -> dict[str, str]:
    return {warning["code"]: warning["about"] for warning in admin.get("/status").json["warnings"]}


def test_nothing_needs_attention(admin: Client, flask: Callable[..., str]) -> None:
    assert admin.get("/status").json == {
        "outbox": {"rows": 0, "oldest_seconds": 0.0},
        "dead_letters": 0,
        "warnings": [],
    }
    assert flask("status").splitlines()[-1] == "no warnings"
    assert "replica_up" not in admin.get("/metrics").text


def test_only_administrators_are_told(app: Flask) -> None:
    assert Client(app).get("/status").status_code == 401
    assert Client(app, "ada").get("/status").status_code == 403


def test_a_paused_lane_and_one_without_workers_are_warnings(
    admin: Client, queue: InlineQueue, flask: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.post(f"/lanes/{MAIL}/pause", {"reason": "a test"})
    assert warnings(admin) == {"lane_paused": MAIL}
    assert f"lane_paused  {MAIL}  a test" in flask("status").splitlines()
    deserted = {"users.hashing": 0, MAIL: 0}
    monkeypatch.setattr(
        queue, "depths", lambda names, _deadline: {name: Depth(0, deserted.get(name, 1)) for name in names}
    )
    assert warnings(admin) == {"lane_paused": MAIL, "lane_without_consumers": "users.hashing"}


def test_a_full_lane_is_a_warning_until_a_minute_after_it_refused_a_command(
    admin: Client, queue: InlineQueue, process: Process
) -> None:
    queue.full = {"users.commands.anonymous"}
    before = refusals(admin, "lane_full")
    for _ in range(2):
        answer = admin.post("/auth/forgot-password", {"email": "ada@example.com"}, Prefer=None)
        assert answer.status_code == 503
    assert refusals(admin, "lane_full") == before + 2
    (warned,) = admin.get("/status").json["warnings"]
    assert (warned["code"], warned["about"]) == ("lane_full", "users.commands.anonymous")
    assert "RabbitMQ refused messages for it" in warned["detail"]
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql("update lanes set refused_at = refused_at - interval '1 minute'")
    assert warnings(admin) == {}


def test_a_lane_that_a_policy_bounds_is_full_as_well_though_its_commands_are_spooled(
    admin: Client, queue: InlineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nack(*_: object) -> None:
        raise MessageRefused

    monkeypatch.setattr(queue, "send", nack)
    assert admin.post("/auth/forgot-password", {"email": "ada@example.com"}, Prefer=None).status_code == 202
    assert warnings(admin) == {"lane_full": "users.commands.anonymous"}


def refusals(admin: Client, reason: str) -> float:
    lines = admin.get("/metrics").text.splitlines()
    return sum(float(one.split()[-1]) for one in lines if one.startswith("commands_refused_total") and reason in one)


def test_a_paused_command_is_a_warning_and_a_metric(admin: Client) -> None:
    admin.post("/commands/users.create_user/pause", {"reason": "a test"})
    assert warnings(admin) == {"command_paused": "users.create_user"}
    assert 'command_paused{command="users.create_user"} 1.0' in admin.get("/metrics").text
    admin.post("/commands/users.create_user/resume")
    assert "command_paused{" not in admin.get("/metrics").text


def test_an_absent_broker_is_a_warning(admin: Client, queue: InlineQueue) -> None:
    assert "broker_up 1.0" in admin.get("/metrics").text
    queue.down = True
    assert warnings(admin) == {"broker_away": ""}
    assert "broker_up 0.0" in admin.get("/metrics").text


def test_what_is_left_in_the_outbox_is_a_warning_after_a_minute(
    admin: Client, queue: InlineQueue, process: Process
) -> None:
    queue.down = True
    assert admin.post("/auth/forgot-password", {"email": "ada@example.com"}, Prefer=None).status_code == 202
    queue.down = False
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql("update outbox set created_at = created_at - interval '2 minutes'")
    found = admin.get("/status").json
    assert (found["outbox"]["rows"], 120 <= found["outbox"]["oldest_seconds"] < 180) == (1, True)
    assert warnings(admin) == {"outbox_growing": ""}


def test_a_failed_scheduled_run_is_a_warning(admin: Client, process: Process) -> None:
    process.note_run("maintenance.purge", "every 3600 s", datetime.now(UTC), "internal_error")
    assert warnings(admin) == {"scheduled_run_failed": "maintenance.purge"}


def test_housekeeping_that_nobody_sends_is_a_warning(admin: Client, process: Process) -> None:
    process.note_run("maintenance.purge", "every 3600 s", datetime.now(UTC) - timedelta(minutes=30), "succeeded")
    process.note_run("maintenance.sweep_outbox", "every 2 s", datetime.now(UTC), "succeeded")
    assert warnings(admin) == {}
    process.note_run("maintenance.sweep_outbox", "every 2 s", datetime.now(UTC) - timedelta(seconds=70), "succeeded")
    assert warnings(admin) == {"housekeeping_stopped": ""}


def test_housekeeping_that_nobody_ever_sent_is_a_warning_once_its_worker_has_run_for_a_minute(
    admin: Client, process: Process
) -> None:
    def starts(ago: float, lane: str) -> None:
        started = datetime.now(UTC) - timedelta(seconds=ago)
        told = Report("maintenance@here", [lane], [], {}, 1, None, started, 0)
        process.resources.database.read(lambda primary: workers.report(primary, told), fresh=True)

    starts(70, MAIL)
    assert warnings(admin) == {}
    starts(5, "maintenance")
    assert warnings(admin) == {}
    starts(70, "maintenance")
    assert warnings(admin) == {"housekeeping_stopped": ""}


def test_housekeeping_that_stopped_says_which_of_its_parts_it_is(
    admin: Client, process: Process, queue: InlineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.note_run("maintenance.sweep_outbox", "every 2 s", datetime.now(UTC) - timedelta(seconds=70), "succeeded")

    def why() -> str:
        (detail,) = [
            one["detail"] for one in admin.get("/status").json["warnings"] if one["code"] == "housekeeping_stopped"
        ]
        begin, _, reason = detail.partition(" s. ")
        assert begin.startswith("Nothing has run for 7")
        return str(reason)

    def has(ready: int, consumers: int) -> None:
        monkeypatch.setattr(queue, "depths", lambda names, _deadline: dict.fromkeys(names, Depth(ready, consumers)))

    assert why() == "Nothing waits in its lane: beat does not run, or does not reach RabbitMQ."
    has(5, 0)
    assert why() == "No worker for maintenance runs."
    has(5, 1)
    assert why() == "Messages wait in its lane, so beat runs; the worker for maintenance begins none."
    busy = [{"task": "maintenance.purge", "since": "2026-01-02T03:04:05Z"}]
    told = Report("maintenance@here", ["maintenance"], busy, {"maintenance": 1}, 1, None, datetime.now(UTC), 0)
    process.resources.database.read(lambda primary: workers.report(primary, told), fresh=True)
    has(0, 1)
    assert why() == "Messages wait in its lane, so beat runs; the worker for maintenance is busy: maintenance.purge."
    admin.post("/lanes/maintenance/pause", {"reason": "a test"})
    assert why() == "Its lane is paused."
    admin.post("/lanes/maintenance/resume")
    monkeypatch.undo()
    queue.down = True
    assert why() == "RabbitMQ does not answer."


def test_a_worker_whose_clock_is_wrong_is_a_warning(
    admin: Client, process: Process, flask: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Report("hashing@here", [], [], {}, 1, None, datetime.now(UTC), 0)
    process.resources.database.read(lambda primary: workers.report(primary, told), fresh=True)
    assert warnings(admin) == {}
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql("update workers set told_at = seen_at - interval '60 seconds'")
    assert warnings(admin) == {"clock_wrong": "hashing@here"}
    assert admin.get("/workers").json["items"][0]["clock_ahead_seconds"] == -60
    assert "60 s behind PostgreSQL's" in flask("status")
    assert 'clock_error_seconds{process="hashing@here"} 60.0' in admin.get("/metrics").text
    assert 'clock_error_seconds{process="api"} 0.0' in admin.get("/metrics").text


def test_a_worker_that_holds_messages_while_none_of_its_processes_works_is_a_warning(
    admin: Client, process: Process
) -> None:
    def report(stuck: float | None) -> None:
        told = Report("hashing@here", [], [], {"users.hashing": 3}, 1, None, datetime.now(UTC), stuck)
        process.resources.database.read(lambda primary: workers.report(primary, told), fresh=True)

    for moment in (None, 0, 8):
        report(moment)
        assert "worker_stuck" not in warnings(admin)
    report(12)
    told = {one["code"]: one for one in admin.get("/status").json["warnings"]}
    assert told["worker_stuck"]["about"] == "hashing@here"
    assert told["worker_stuck"]["detail"] == (
        "Holds messages (3), and none of its processes has worked on one for 12 s: they are stopped, or hang."
    )
    assert list(told).index("worker_stuck") < list(told).index("commands_late")


def test_messages_that_are_tried_in_vain_are_a_warning_after_a_minute_with_the_reason(
    admin: Client, process: Process
) -> None:
    tried = """
        insert into retries (id, name, lane, tries, reason, since, next_try_at)
        select gen_random_uuid(), 'notifications.mail_verification_link', 'notifications.mail', 3,
            case n when 1 then 'answered 451' else 'the mail server cannot be reached' end,
            now() - make_interval(secs => %s), now() + interval '10 seconds' from generate_series(1, 3) n
    """
    process.resources.database.read(lambda primary: primary.execute(tried, [30]), fresh=True)
    assert warnings(admin) == {}
    process.resources.database.read(lambda primary: primary.execute(tried, [90]), fresh=True)
    (warned,) = admin.get("/status").json["warnings"]
    assert (warned["code"], warned["about"]) == ("messages_delayed", MAIL)
    assert warned["detail"] == "Tried in vain for over a minute: 3. Most often: the mail server cannot be reached."


def test_a_late_lane_says_whether_its_messages_wait_or_waited(
    admin: Client, ended: Callable[..., UUID], queue: InlineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(ago=60, took=9, waited=9)
    (late,) = admin.get("/status").json["warnings"]
    assert (late["code"], late["detail"]) == (
        "commands_late",
        "Messages of the last five minutes waited for up to 9 s.",
    )
    monkeypatch.setattr(queue, "depths", lambda *_: {MAIL: Depth(7, 1)})
    details = {one["about"]: one["detail"] for one in admin.get("/status").json["warnings"]}
    assert details[MAIL] == "Messages wait, and no worker has ever taken one."


def test_a_replica_that_lags_is_named_and_is_not_taken_for_one_that_is_down(pair: Pair) -> None:
    settings = settings_with(database_url=pair.primary.url, database_read_url=pair.standby.url)
    with another_process(settings) as app:
        flask, client = app.test_cli_runner(), Client(app)
        eventually(lambda: client.get("/health/ready").json["replica"] == "up")
        assert "replica_up 1.0" in client.get("/metrics").text
        pair.pause()
        flask.invoke(args=["lanes", "pause", MAIL, "--reason", "something to replicate"])
        eventually(lambda: client.get("/health/ready").json["replica"] == "down")
        assert "too far behind" in client.get("/health/ready").json["reason"]
        assert "replica_up 0.0" in client.get("/metrics").text
        assert "replica_away  The replica is behind." in flask.invoke(args=["status"]).output
        pair.go_on()
        eventually(lambda: client.get("/health/ready").json["replica"] == "up")


def test_commits_that_wait_for_a_standby_are_told_and_the_worker_is_not_blamed(pair: Pair) -> None:
    settings = settings_with(database_url=pair.primary.url, database_read_url=pair.standby.url)

    with another_process(settings) as app, ThreadPoolExecutor() as threads:
        flask, client = app.test_cli_runner(), Client(app)
        assert "commits_waiting 0.0" in client.get("/metrics").text
        pair.keep_in_step()
        pair.standby.stop()
        try:
            waits = threads.submit(pair.write)
            told = eventually(lambda: (found := flask.invoke(args=["status"]).output).count("commits_wait ") and found)
            assert "commits_wait  Commits wait for a standby for over 5 s: 1." in told
            assert "replica_away  The replica does not answer. Commits wait, perhaps for it." in told
            assert "commits_waiting 1.0" in client.get("/metrics").text
            assert not waits.done()
            with psycopg.connect(pair.primary.url, autocommit=True) as primary:
                workers.report(primary, Report("all@here", ["maintenance"], [], {}, 1, None, datetime.now(UTC), 0))
                lanes.note_taken(primary, {"maintenance": timedelta()})
                lanes.note_refused(primary, "maintenance")
            assert "all@here" in flask.invoke(args=["workers"]).output
        finally:
            pair.let_it_lag()
            pair.standby.start()
        waits.result()
        eventually(lambda: "commits_waiting 0.0" in client.get("/metrics").text)


def test_a_primary_that_is_away_is_told_to_prometheus_although_its_replica_answers(pair: Pair) -> None:
    settings = settings_with(database_url=pair.primary.url, database_read_url=pair.standby.url)
    with another_process(settings) as app:
        client = Client(app)
        eventually(lambda: client.get("/health/ready").json["replica"] == "up")
        assert "backlog_up 1.0" in client.get("/metrics").text
        pair.primary.stop()
        assert "backlog_up 0.0" in client.get("/metrics").text
        assert client.get("/health/ready").json["replica"] == "up"
        pair.primary.start()
        eventually(lambda: "backlog_up 1.0" in client.get("/metrics").text)
