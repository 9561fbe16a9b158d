"""The program's processes, started by the tests as they are started in production.

pytest-celery asks little of a "container": a name, logs, a status, and to be killed and restarted. A process
can do that without Docker (docs/adr/0009-pytest-celery-without-docker.md).
"""

from __future__ import annotations

import os
import signal as signals
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import psutil
import pytest
from pytest_celery import CeleryTestBroker, CeleryTestWorker

from backend.settings import ROOT
from tests.deployment import defaults

PATIENCE = 120.0
"""Seconds after which what a test waits for will never happen, on a busy machine."""
SECRET_KEY = "w3lPmEJkqzU0b7rXo1Yt5cNfVhSdGa9iQ2uT8eKx"
_KEPT = "PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG"
_SCRIPTS = Path(sys.executable).parent
_started: list[Program] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes said when a test fails."""
    report = yield
    if report.failed:
        report.sections += [(f"end of the log of {program.name}", program.logs()[-6000:]) for program in _started]
    return report


def environment(**more: str) -> dict[str, str]:
    """What every process of the program is started with: nothing of the developer's own settings.

    Every variable has a value, so that nothing is taken from the developer's `.env` either.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        **defaults(),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "default",
        "SECRET_KEYS": SECRET_KEY,
        "JWT_SECRET": SECRET_KEY[::-1],
        "BCRYPT_ROUNDS": "4",
        "LOG_FORMAT": "json",
        **more,
    }


class Program:
    """A process of the program, whose output can be waited for. Killed at the end of a `with` block.

    Attributes:
        inside: what is put before its command, such as that of a host.
    """

    def __init__(self, name: str, *command: str, environment: Mapping[str, str], directory: Path = ROOT) -> None:
        self.name = name
        self.command = command
        self.environment = dict(environment)
        self._directory = directory
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._read_to_end = threading.Event()
        self.inside: Sequence[str] = ()
        self.process: subprocess.Popen[str] | None = None
        _started.append(self)

    def start(self) -> None:
        """Start it, without waiting for anything."""
        program, *arguments = self.command
        self._read_to_end.clear()
        self.process = subprocess.Popen(
            (*self.inside, str(_SCRIPTS / program), *arguments),
            env=self.environment,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def logs(self) -> str:
        """What it has said, also before a restart."""
        with self._said:
            return "".join(self._lines)

    def mark(self) -> int:
        """How much it has said: `await_log` can look at what comes after."""
        with self._said:
            return len(self._lines)

    def said(self, since: int) -> list[str]:
        """Its lines after a mark."""
        with self._said:
            return self._lines[since:]

    def await_log(self, text: str, since: int = 0) -> str:
        """The first line with that text; waits for it while the process lives.

        Raises:
            AssertionError: it ended, or time is up, without saying it.
        """
        deadline = monotonic() + PATIENCE
        with self._said:
            looked_at = since
            while True:
                for line in self._lines[looked_at:]:
                    if text in line:
                        return line
                looked_at = len(self._lines)
                if self._read_to_end.is_set() or not self._said.wait(max(0, deadline - monotonic())):
                    raise AssertionError(f"{self.name} never said {text!r}:\n{''.join(self._lines)}")

    def has_said(self, text: str, since: int = 0) -> bool:
        """Whether a line has that text, also before a restart."""
        with self._said:
            return any(text in line for line in self._lines[since:])

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        assert self.process is not None
        code = self.process.wait(PATIENCE)
        self._read_to_end.wait(PATIENCE)
        return code

    def children(self) -> list[psutil.Process]:
        """Its child processes, such as those of a worker's pool."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> int:
        """Ask it to end, and wait until it has; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.ended()

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Kill it, and wait until it is gone."""
        assert self.process is not None
        number = getattr(signals, signal) if isinstance(signal, str) else signal
        self.process.send_signal(number)
        self.ended()

    def teardown(self) -> None:
        """Leave nothing of it behind."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signals.SIGKILL)
            self.process.wait()
        if self in _started:
            _started.remove(self)

    def ready(self) -> bool:
        """Wait until it does its work."""
        return True

    def __enter__(self) -> Self:
        self.start()
        try:
            self.ready()
        except BaseException:
            self.teardown()  # a worker that never got ready would look for its broker for ever
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.teardown()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._said:
                    self._lines.append(line)
                    self._said.notify_all()
        self._read_to_end.set()
        with self._said:
            self._said.notify_all()


class WorkerProcess(Program):
    """A Celery worker, with what pytest-celery asks of a container."""

    def __init__(
        self, environment: Mapping[str, str], *options: str, app: str = "tasks.app", directory: Path = ROOT
    ) -> None:
        self.id = uuid4().hex
        self.node = f"{self.id}@{socket.gethostname()}"
        command = ("celery", "-A", app, "--quiet", "worker", "-n", self.node, "--loglevel", "INFO", *options)
        super().__init__(f"worker {self.id[:6]}", *command, environment=environment, directory=directory)
        self._since = 0

    def start(self) -> None:
        self._since = self.mark()
        super().start()

    def ready(self) -> bool:
        """Wait until it consumes."""
        self.await_log(f"{self.node} ready.", self._since)
        return True

    @property
    def status(self) -> str:
        return "running" if self.running else "exited"

    @property
    def celeryconfig(self) -> dict[str, Any]:
        return {}

    def reload(self) -> None:
        """A process has no cached state to refresh."""

    def restart(self, timeout: float = PATIENCE) -> None:
        """End it, unless it has ended, and start it again."""
        if self.running:
            self.terminate()
        self.start()
        self.ready()


class ExistingBroker:
    """A broker that somebody else started: pytest-celery wants its address only."""

    name = id = "broker"
    status = "running"

    def __init__(self, url: str) -> None:
        self.celeryconfig = {"url": url, "host_url": url}

    def ready(self) -> bool:
        return True

    def teardown(self) -> None:
        """It is not ours."""


def worker_node(worker: WorkerProcess) -> CeleryTestWorker:
    """A node for pytest-celery's worker cluster."""
    return CeleryTestWorker(worker, None)


def broker_node(url: str) -> CeleryTestBroker:
    """A node for pytest-celery's broker cluster."""
    return CeleryTestBroker(ExistingBroker(url))


def eventually(question: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first answer that is true; asked again and again, for so many seconds.

    Raises:
        AssertionError: it never is.
    """
    deadline = monotonic() + patience
    pause = threading.Event()
    while True:
        answer = question()
        if answer:
            return answer
        assert monotonic() < deadline, "what was waited for never happened"
        pause.wait(0.05)
