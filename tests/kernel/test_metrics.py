"""What Prometheus reads."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from backend.kernel.delivery.outbox import Backlog
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.observe import metrics
from backend.program import Process

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    yield
    metrics.register_backlog(lambda: Backlog(0, 0, 0, 0))


def figures(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figure(name: str, **labels: str) -> float:
    """The figure as a scrape shows it now; 0 when it is not there."""
    body, _ = metrics.metrics_response()
    return figures(body.decode()).get((name, tuple(sorted(labels.items()))), 0)


def test_the_answer_is_prometheus_text() -> None:
    _, content_type = metrics.metrics_response()
    assert content_type.startswith("text/plain; version=")


def test_a_request_is_counted_and_timed_under_its_route() -> None:
    labels = {"method": "GET", "rule": "/api/v1/users/<id>", "status": "200"}
    count = figure("http_request_duration_seconds_count", **labels)
    seconds = figure("http_request_duration_seconds_sum", **labels)
    metrics.observe_request("GET", "/api/v1/users/<id>", 200, 0.25)
    assert figure("http_request_duration_seconds_count", **labels) == count + 1
    assert figure("http_request_duration_seconds_sum", **labels) == pytest.approx(seconds + 0.25)


def test_requests_that_no_route_knows_share_one_series() -> None:
    labels = {"method": "GET", "rule": "none", "status": "404"}
    before = figure("http_request_duration_seconds_count", **labels)
    metrics.observe_request("GET", None, 404, 0.01)
    metrics.observe_request("GET", None, 404, 0.01)
    assert figure("http_request_duration_seconds_count", **labels) == before + 2


def test_methods_that_a_client_invents_share_one_series() -> None:
    labels = {"method": "other", "rule": "none", "status": "405"}
    before = figure("http_request_duration_seconds_count", **labels)
    metrics.observe_request("BREW", None, 405, 0.01)
    metrics.observe_request("PROPFIND", None, 405, 0.01)
    assert figure("http_request_duration_seconds_count", **labels) == before + 2


def test_commands_are_counted_by_name_and_way() -> None:
    broker = figure("commands_accepted_total", command="users.create_user", way="broker")
    spool = figure("commands_accepted_total", command="users.create_user", way="spool")
    refused = figure("commands_refused_total", command="users.create_user", reason="lane_full")
    metrics.command_accepted("users.create_user", "broker")
    metrics.command_accepted("users.create_user", "spool")
    metrics.command_refused("users.create_user", "lane_full")
    assert figure("commands_accepted_total", command="users.create_user", way="broker") == broker + 1
    assert figure("commands_accepted_total", command="users.create_user", way="spool") == spool + 1
    assert figure("commands_refused_total", command="users.create_user", reason="lane_full") == refused + 1


STATES = """
from backend.kernel.observe import metrics
for slots, is_open, connected in ((3, True, False), (0, False, True)):
    metrics.set_waiting_slots(slots)
    metrics.set_breaker_open("broker", is_open=is_open)
    metrics.set_listener_connected(connected)
    print(metrics.metrics_response()[0].decode(), end="END")
"""


def test_the_state_of_the_process_is_shown() -> None:
    """In a process of its own: listeners that earlier tests told to stop say so here as they do."""
    printed = subprocess.run([sys.executable, "-c", STATES], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    before, after, _ = map(figures, printed.stdout.split("END"))
    names = ("waiting_slots_in_use", "listeners", "listeners_connected")
    breaker = "breakers_open", (("server", "broker"),)
    assert [*(before[name, ()] for name in names), before[breaker]] == [3, 1, 0, 1]
    assert [*(after[name, ()] for name in names), after[breaker]] == [0, 1, 1, 0]


def test_the_backlog_is_read_at_each_scrape() -> None:
    backlog = iter([Backlog(2, 7.5, 3, 5), Backlog(0, 0, 4, 0)])
    metrics.register_backlog(lambda: next(backlog))
    body, _ = metrics.metrics_response()
    seen = figures(body.decode())
    assert seen["backlog_up", ()] == 1
    assert seen["outbox_rows", ()] == 2
    assert seen["outbox_oldest_age_seconds", ()] == 7.5
    assert seen["dead_letters_open", ()] == 3
    assert seen["commits_waiting", ()] == 5
    assert figure("dead_letters_open") == 4


def test_a_database_that_is_away_is_a_figure_and_the_others_are_still_shown() -> None:
    def away() -> Backlog:
        raise ConnectionError

    metrics.register_backlog(away)
    metrics.observe_request("GET", "/health/live", 200, 0.001)
    body, _ = metrics.metrics_response()
    seen = figures(body.decode())
    assert seen["backlog_up", ()] == 0
    assert ("outbox_rows", ()) not in seen
    assert figure("http_request_duration_seconds_count", method="GET", rule="/health/live", status="200") >= 1


PROCESS = """
import sys
from backend.kernel.observe import metrics
metrics.set_waiting_slots(int(sys.argv[1]))
metrics.set_listener_connected(True)
metrics.observe_request("GET", "/users", 200, 0.1)
print("ready", flush=True)
sys.stdin.readline()
print(metrics.metrics_response()[0].decode())
"""


def api_process(directory: Path, waiting: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(waiting)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


SERVED = (("method", "GET"), ("rule", "/users"), ("status", "200"))


def test_a_scrape_shows_all_processes_together(tmp_path: Path) -> None:
    with api_process(tmp_path, 3) as first, api_process(tmp_path, 2) as second:
        scraped, _ = first.communicate("\n", timeout=60)
        second.kill()
    seen = figures(scraped)
    assert seen["waiting_slots_in_use", ()] == 5
    assert seen["listeners_connected", ()] == 2
    assert seen["http_request_duration_seconds_count", SERVED] == 2


def test_a_killed_process_leaves_what_it_counted_and_nothing_else(tmp_path: Path) -> None:
    with api_process(tmp_path, 3) as first, api_process(tmp_path, 2) as second:
        second.kill()
        second.wait()
        scraped, _ = first.communicate("\n", timeout=60)
    seen = figures(scraped)
    assert seen["waiting_slots_in_use", ()] == 3
    assert seen["listeners_connected", ()] == 1
    assert seen["http_request_duration_seconds_count", SERVED] == 2


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
from backend.kernel.observe import metrics
for number in range(2000):
    metrics.command_accepted(f"sample.{number:040}", "broker")
print(metrics.metrics_response()[0].decode())
"""


def test_without_its_directory_a_process_shows_what_needs_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "missing"))
    assert figure("processes_memory_bytes") > 2**20
    assert figure("backlog_up") == 1


@pytest.mark.parametrize("room", [0, 1 << 16])
def test_a_disk_without_room_costs_metrics_and_not_the_process(tmp_path: Path, room: int) -> None:
    """Its room ends at the first file, or as that one grows."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL.replace("ROOM", str(room))],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout + ended.stderr).count("metrics are not counted") == 1
    assert ("commands_accepted_total" in ended.stdout) == (room > 0)


def test_what_takes_time_and_room_is_shown(process: Process) -> None:
    committed, published = figure("transaction_seconds_count"), figure("publish_seconds_count")
    with UnitOfWork(process.resources.database) as unit:
        unit.connection.exec_driver_sql("select 1")
        assert figure("database_connections_in_use", pool="writes") == 1
        unit.commit()
    assert figure("database_connections_in_use", pool="writes") == 0
    inside = process.resources.database.read(lambda _: figure("database_connections_in_use", pool="reads"))
    assert inside == figure("database_connections_in_use", pool="reads") + 1
    assert figure("transaction_seconds_count") == committed + 1
    metrics.message_published(0.1)
    assert figure("publish_seconds_count") == published + 1
    assert figure("processes_memory_bytes") > 2**20


def test_refused_requests_are_counted_by_their_problem(app: Flask) -> None:
    before = figure("requests_refused_total", problem="invalid_credentials")
    app.test_client().post("/api/v1/auth/login", json={"email": "nobody@example.com", "password": "wrong"})
    assert figure("requests_refused_total", problem="invalid_credentials") == before + 1
