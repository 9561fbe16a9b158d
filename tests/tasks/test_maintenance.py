"""Housekeeping on schedule: its log lines, and what is kept of its runs."""

from __future__ import annotations

import json

import pytest

from backend.kernel.delivery import schedule
from backend.kernel.observe.logging import bind_request, configure_logging
from backend.program import Process
from tasks.app import make_app


def test_a_run_has_log_lines_and_a_request_id_of_its_own(process: Process, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(process.settings)
    app = make_app(process.program, lambda _queue: process)
    bind_request("of-an-earlier-message", operation_id="of-an-earlier-message")
    app.tasks["maintenance.purge"].apply(throw=True)
    (line,) = (json.loads(text) for text in capfd.readouterr().err.splitlines() if '"purged"' in text)
    assert line["request_id"].startswith("maintenance-")
    assert "of-an-earlier-message" not in json.dumps(line)


def test_how_a_run_ended_is_kept(process: Process) -> None:
    app = make_app(process.program, lambda _queue: process)
    app.tasks["maintenance.sweep_outbox"].apply(throw=True)
    kept = process.resources.database.read(schedule.rows)["maintenance.sweep_outbox"]
    assert (kept.rule, kept.result) == ("every 2 s", "succeeded")
