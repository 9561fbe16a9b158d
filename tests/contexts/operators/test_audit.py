"""The audit log as a file, and with `flask`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from io import StringIO

from flask import Flask

from backend.program import Process
from tests.client import Client
from tests.contexts.operators.conftest import ADMIN

LANE = "notifications.mail"


def act(admin: Client) -> None:
    assert admin.post(f"/lanes/{LANE}/pause", {"reason": "a test"}).status_code == 200
    assert admin.post(f"/lanes/{LANE}/resume").status_code == 200
    assert admin.post("/lanes/=nobodys/resume").status_code == 404


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
