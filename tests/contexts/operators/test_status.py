"""What needs attention, in one answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask

from backend.kernel.delivery.envelope import Depth
from backend.program import Process
from tests.client import Client
from tests.inline import InlineQueue

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
