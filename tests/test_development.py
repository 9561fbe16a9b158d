"""`make run`, as a person meets it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from backend import development
from backend.settings import ROOT
from tests.flow.client import Client
from tests.worker import eventually

pytestmark = pytest.mark.timeout(600)  # starts everything, and more than once

PATIENCE = 180.0
"""Seconds to start or end a database, a worker per kind of work and all the rest, on a busy machine."""


class Run(NamedTuple):
    """A run of everything."""

    checkout: Path
    port: int
    process: subprocess.Popen[bytes]
    everything: Sequence[psutil.Process]


@pytest.fixture
def checkout() -> Iterator[Path]:
    with _checkout() as directory:
        yield directory


@pytest.fixture(scope="module")
def ended() -> Iterator[Run]:
    """A run in which Ada registered, and that Ctrl-C ended."""
    port = _free_port()
    with _checkout() as directory:
        with _running(directory, port) as process:
            everything = psutil.Process(process.pid).children(recursive=True)
            assert _create_user(port) == 201
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches each process of the foreground
            process.wait(PATIENCE)
        yield Run(directory, port, process, everything)


@pytest.fixture(scope="module")
def running(ended: Run) -> Iterator[Run]:
    """The run after it, in the same checkout."""
    with _running(ended.checkout, ended.port) as process:
        yield ended._replace(process=process)
    assert process.returncode == 0


def test_everything_starts_and_ends_without_a_trace(ended: Run) -> None:
    assert ended.process.returncode == 0
    assert [child for child in ended.everything if child.is_running()] == []
    assert not (ended.checkout / "var/database-url").exists()
    assert not (ended.checkout / "var/postgres/postmaster.pid").exists()


def test_the_next_run_finds_its_data_again(running: Run) -> None:
    assert _create_user(running.port) == 409


def test_the_tour_goes_to_its_end(running: Run) -> None:
    environment = {**os.environ, "PORT": str(running.port)}
    tour = subprocess.run((sys.executable, "demo.py"), cwd=running.checkout, env=environment, check=False)
    assert tour.returncode == 0


def test_flower_asks_for_a_password(running: Run) -> None:
    """It sees names of tasks and workers, and any page in a browser could ask it."""
    auth, said = (running.checkout / "var/flower-auth").read_text().strip(), (running.checkout / "log").read_text()
    found = re.search(r"Flower  (http\S+)   user (\S+), password (\S+)", said)
    assert found is not None
    url, user, password = found.groups()
    assert auth == f"{user}:{password}"
    flower, credentials = Client(url), f"Basic {b64encode(auth.encode()).decode()}"
    assert flower.get("/api/tasks").status == 401
    answer = flower.get("/api/tasks", Authorization=credentials, Origin="https://elsewhere.example")
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_worker_that_dies_comes_back(running: Run) -> None:
    [worker] = _programs(running.process, "hashing@")
    worker.kill()
    eventually(lambda: _create_user(running.port, "grace") == 409, PATIENCE)  # only that worker hashes passwords
    [successor] = _programs(running.process, "hashing@")
    assert successor.pid != worker.pid


def test_a_second_run_in_one_checkout_is_refused_and_leaves_the_first_alone(running: Run) -> None:
    second = subprocess.run(
        (sys.executable, "-m", "backend.development"),
        cwd=running.checkout,
        env={**os.environ, "PORT": str(_free_port()), "FLOWER_PORT": str(_free_port())},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (second.returncode, second.stdout) == (1, "")
    assert re.fullmatch(
        r"\nmake run is running in .* already\. Stop it first, or use another checkout\n", second.stderr
    )
    assert _create_user(running.port, "edsger") == 201


def test_code_that_cannot_be_loaded_does_not_end_it_for_good(running: Run) -> None:
    program, log = running.checkout / "wsgi.py", running.checkout / "log"
    code = program.read_text()
    program.write_text("x = = 1")
    [supervisord] = [child for child in psutil.Process(running.process.pid).children() if "supervisord" in child.name()]
    supervisord.terminate()  # as when a program has failed again and again
    _await(running.process, log, "waiting until the code can be loaded")
    program.write_text(code)
    eventually(lambda: log.read_text().count("Ctrl-C stops all of it") == 2, PATIENCE)
    assert _create_user(running.port, "barbara") == 201


def test_a_program_that_cannot_start_ends_everything_and_is_named(checkout: Path) -> None:
    (checkout / "wsgi.py").write_text("raise SystemExit('no application')")
    process = _run(checkout, _free_port())
    process.wait(PATIENCE)

    assert process.returncode == 1
    assert re.search(r"exited: api \(exit status .*Everything was stopped", (checkout / "log").read_text(), re.DOTALL)
    assert not (checkout / "var/postgres/postmaster.pid").exists()


def test_a_taken_port_is_named_with_its_setting(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = _run(checkout, port)
        process.wait(PATIENCE)

    assert process.returncode == 1
    assert re.search(rf"Port {port} .* PORT={port + 1} make run", (checkout / "log").read_text())


@pytest.mark.parametrize(("setting", "value"), [("PORT", "99999"), ("FLOWER_PORT", "x")])
def test_a_port_that_is_none_is_refused_in_a_sentence(checkout: Path, setting: str, value: str) -> None:
    assert setting in _refusal({setting: value}, checkout)


def test_one_port_for_two_programs_is_refused_in_a_sentence(checkout: Path) -> None:
    port = str(_free_port())
    assert "PORT and FLOWER_PORT" in _refusal({"PORT": port, "FLOWER_PORT": port}, checkout)


@pytest.mark.parametrize("character", '%":')
def test_a_folder_that_a_tool_misreads_is_refused_in_a_sentence(tmp_path: Path, character: str) -> None:
    folder = tmp_path / f"a{character}b"
    shutil.copytree(ROOT / "backend", folder / "backend", ignore=shutil.ignore_patterns("__pycache__"))
    assert f"holds a {character}" in _refusal({}, folder)


def test_the_env_file_sets_what_only_make_run_reads(checkout: Path) -> None:
    (checkout / ".env").write_text("FLOWER_PORT=99999\n")
    environment = {name: value for name, value in os.environ.items() if name != "FLOWER_PORT"}

    ended = subprocess.run(
        (sys.executable, "-m", "backend.development"),
        cwd=checkout,
        env={**environment, "PORT": str(_free_port())},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert (ended.returncode, ended.stderr.strip()) == (1, "FLOWER_PORT must be 1 to 65535")


def test_what_earlier_monitors_left_is_removed_and_no_command_is(tmp_path: Path) -> None:
    kept = ["messages/1_a.users.hashing.msg", "control/commands.exchange"]
    removed = [
        "control/celery.pidbox.exchange",
        "control/celeryev.exchange",
        "control/reply.celery.pidbox.exchange",
        "messages/2_b.celeryev.71d5.msg",
        "messages/3_c.mail@host.celery.pidbox.msg",
    ]
    for name in kept + removed:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    development.forget_listeners(tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == sorted(kept)


@contextmanager
def _checkout() -> Iterator[Path]:
    """The program in a directory of its own: its `var/` is not the developer's. Its name is one that people have."""
    with tempfile.TemporaryDirectory(prefix="promise, Ada's checkout (2) é ") as name:
        directory = Path(name)
        for package in ("backend", "tasks", "migrations"):
            shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("wsgi.py", "celeryconfig.py", "alembic.ini", "supervisord.conf", "demo.py"):
            shutil.copy(ROOT / file, directory)
        yield directory


def _run(checkout: Path, port: int) -> subprocess.Popen[bytes]:
    with (checkout / "log").open("w") as log:
        return subprocess.Popen(
            (sys.executable, "-m", "backend.development"),
            cwd=checkout,
            env={**os.environ, "PORT": str(port), "FLOWER_PORT": str(_free_port())},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _refusal(variables: dict[str, str], folder: Path) -> str:
    """The one line with which `make run` ends."""
    ended = subprocess.run(
        (sys.executable, "-m", "backend.development"),
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    (sentence,) = ended.stderr.strip().splitlines()
    assert ended.returncode == 1
    return sentence


@contextmanager
def _running(checkout: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = _run(checkout, port)
    try:
        _await(process, checkout / "log", "Ctrl-C stops all of it")
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _programs(process: subprocess.Popen[bytes], word: str) -> list[psutil.Process]:
    programs = psutil.Process(process.pid).children(recursive=True)
    return [program for program in programs if any(word in part for part in program.cmdline())]


def _await(process: subprocess.Popen[bytes], log: Path, line: str) -> None:
    eventually(lambda: line in log.read_text() or process.poll() is not None, PATIENCE)
    assert process.poll() is None, log.read_text()


def _create_user(port: int, name: str = "ada") -> int:
    body = {"name": name, "email": f"{name}@example.com", "password": "correct horse battery"}
    headers = {"Content-Type": "application/json", "Prefer": "wait=10"}
    url = f"http://127.0.0.1:{port}/api/v1/users"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as response:
            return int(response.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
