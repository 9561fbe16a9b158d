"""The audit log as a file, and with `flask`."""

from __future__ import annotations

import csv
import socket
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from flask import Flask

from backend.program import Process
from tests.client import Client
from tests.contexts.operators.conftest import ADMIN

LANE = "notifications.mail"


def act(admin: Client) -> None:
    assert admin.post(f"/lanes/{LANE}/pause", {"reason": "a test"}).status_code == 200
    assert admin.post(f"/lanes/{LANE}/resume").status_code == 200
    assert admin.post("/lanes/=nobodys/resume").status_code == 404


def newest(admin: Client) -> dict[str, Any]:
    return dict(admin.get("/audit", {"limit": 1}).json["items"][0])


@pytest.mark.parametrize(
    ("path", "arguments", "detail"),
    [
        (f"/lanes/{LANE}", LANE, LANE),
        ("/commands/users.create_user", "users.create_user", "users.create_user"),
    ],
)
def test_a_pause_leaves_the_same_entry_with_its_reason_by_each_door(
    admin: Client, flask: Callable[..., str], path: str, arguments: str, detail: str
) -> None:
    """Who, what, on what, why, and from where."""
    assert admin.post(f"{path}/pause", {"reason": "The mail server is down"}).status_code in (200, 204)
    by_http = newest(admin)
    assert (by_http["actor"], by_http["ip"]) == (str(ADMIN), "192.0.2.1")
    assert (by_http["detail"], by_http["reason"]) == (detail, "The mail server is down")
    flask("lanes", "pause", arguments, "--reason", "The mail server is down")
    by_shell = newest(admin)
    assert by_shell["actor"] is None
    assert by_shell["ip"].endswith(f"@{socket.gethostname()}")
    assert by_shell["request_id"].startswith("cli-")
    told = ("action", "about", "detail", "reason", "outcome")
    assert [by_shell[name] for name in told] == [by_http[name] for name in told]

    admin.post(f"{path}/resume")
    by_http = newest(admin)
    flask("lanes", "resume", arguments)
    by_shell = newest(admin)
    assert [by_shell[name] for name in told] == [by_http[name] for name in told]
    assert (by_http["detail"], by_http["reason"], by_http["outcome"]) == (detail, None, "succeeded")


def test_the_reason_is_in_the_export_the_listing_of_flask_and_the_trace_of_the_request(
    admin: Client, flask: Callable[..., str]
) -> None:
    assert admin.post(f"/lanes/{LANE}/pause", {"reason": "too slow"}, X_Request_ID="a-pause").status_code == 200
    (row,) = csv.DictReader(StringIO(admin.get("/audit/export").text))
    assert (row["detail"], row["reason"]) == (LANE, "too slow")
    assert flask("audit").splitlines()[1].endswith("too slow")
    assert f"about {LANE} · too slow" in flask("trace", "a-pause")


def test_what_the_filters_match_is_exported_newest_first(admin: Client) -> None:
    act(admin)
    answer = admin.get("/audit/export", {"actor": str(ADMIN)})
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    assert 'filename="audit.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert [(row["action"], row["detail"], row["outcome"]) for row in rows] == [
        ("lanes.resume", "'=nobodys", "lane_not_found"),
        ("lanes.resume", LANE, "succeeded"),
        ("lanes.pause", LANE, "succeeded"),
    ]
    listed = admin.get("/audit").json["items"]
    assert [row["id"] for row in rows] == [entry["id"] for entry in listed]
    assert [datetime.fromisoformat(row["at"]) for row in rows] == [datetime.fromisoformat(one["at"]) for one in listed]
    assert len(admin.get("/audit/export", {"action": "lanes.pause"}).text.splitlines()) == 2
    assert admin.get("/audit/export", {"limit": 5}).status_code == 422


def test_an_export_longer_than_a_page_is_whole(admin: Client, process: Process) -> None:
    with process.resources.database.transaction() as connection:
        connection.exec_driver_sql(
            "insert into audit_log (id, action, outcome)"
            " select gen_random_uuid(), 'a.b', 'c' from generate_series(1, 2500)"
        )
    ids = [line.partition(",")[0] for line in admin.get("/audit/export").text.splitlines()[1:]]
    assert len(ids) == len(set(ids)) == 2500


def test_only_administrators_export(app: Flask) -> None:
    assert Client(app).get("/audit/export").status_code == 401
    assert Client(app, "ada").get("/audit/export").status_code == 403


def test_operators_read_it_with_flask(admin: Client, flask: Callable[..., str]) -> None:
    act(admin)
    (line,) = flask("audit", "--action", "lanes.pause").splitlines()[1:]
    assert line.split()[1:5] == ["lanes.pause", "succeeded", str(ADMIN), LANE]
    assert flask("audit", "--until", "2026-01-01").splitlines()[1:] == []
    assert flask("audit", "--csv", "--actor", str(ADMIN)) == admin.get("/audit/export").text.replace("\r\n", "\n")
