"""`make drill`: every alert fires while its fault is really made, and resolves after it.

A Prometheus and an Alertmanager (Debian: prometheus, prometheus-alertmanager) watch the program, with the rules of
deploy/prometheus. Waiting for an hour is left out: each `for` is 5 s here, and each window of five minutes 30 s.
Thresholds are as they are.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import yaml
from kombu import Connection, Producer

from backend.settings import ROOT
from tasks.lanes import COMMANDS
from tests.broker import RabbitMQ
from tests.chaos.clock import Clock
from tests.flow.client import Client
from tests.flow.programs import ApiProcess, administrator, beat, free_port
from tests.smtp import HangingServer
from tests.standby import Pair
from tests.worker import Program, WorkerProcess, environment, eventually

USERS, SIGN_IN, LANE = "/api/v1/users", "/api/v1/auth/login", "users.hashing.anonymous"
_LEAKS = """
import os
import threading

def leak():
    kept = []
    while True:
        threading.Event().wait(1)
        if not os.path.exists(os.environ["LEAK"]):
            kept.clear()
        elif len(kept) < 40:
            kept.append(b"x" * 2**24)

def start():
    threading.Thread(target=leak, daemon=True).start()

start()
os.register_at_fork(after_in_child=start)
"""
"""Python runs it in every process that finds it on its path."""
_PATIENCE = 240.0
"""Seconds after which an alert counts as one that does not fire, or does not resolve."""


@dataclass(frozen=True)
class Stack:
    """The program, what it runs on, and who watches it.

    Attributes:
        clock: the worker's.
        operator: the headers of an administrator's requests.
        alerts: Alertmanager.
        mail_servers: the one that is there; none while it is away.
        mail_port: where it listens.
        leak: while this file exists, the API's processes take more and more memory.
    """

    api: ApiProcess
    worker: WorkerProcess
    beat: Program
    rabbitmq: RabbitMQ
    broker_url: str
    postgres: Pair
    clock: Clock
    operator: Mapping[str, str]
    alerts: Client
    mail_servers: list[HangingServer]
    mail_port: int
    leak: Path

    def register(self, times: int) -> None:
        """Anonymous registrations, whether they are accepted or not."""
        for _ in range(times):
            name = uuid4().hex
            body = {"name": name, "email": f"{name}@example.com", "password": "correct horse battery"}
            self.api.client.post(USERS, body)

    def guess(self, times: int) -> None:
        """Sign-ins with a wrong password."""
        for _ in range(times):
            self.api.client.post(SIGN_IN, {"email": "ada@example.com", "password": "password1"})

    def act(self, path: str, body: Mapping[str, Any]) -> Any:
        """An operator's act."""
        answer = self.api.client.post(f"/api/v1{path}", body, **self.operator)
        assert answer.status == 200, answer.content
        return answer.body

    def lane(self) -> Any:
        """The lane of the registrations, as operators see it."""
        lanes = self.api.client.get("/api/v1/lanes", **self.operator).body["items"]
        return next(lane for lane in lanes if lane["name"] == LANE)

    def fires(self, alert: str) -> bool:
        """Whether Alertmanager would tell somebody."""
        found = self.alerts.get(f'/api/v2/alerts?filter=alertname="{alert}"'.replace('"', "%22")).body
        return bool(found)


@contextmanager
def late_commands(stack: Stack) -> Iterator[None]:
    """Commands that waited for over 5 s: a lane was paused."""
    with _repeated(lambda: stack.register(1)):
        eventually(lambda: stack.lane()["last_taken_at"])  # a rate is known of what was counted before
        with paused_lane(stack):
            eventually(lambda: stack.lane()["consumers"] == 0)
            threading.Event().wait(8)
        yield


@contextmanager
def wrong_clock(stack: Stack) -> Iterator[None]:
    """The clock of the worker is a minute ahead, and nothing is late."""
    stack.clock.set(60)
    try:
        with _repeated(lambda: stack.register(1)):
            yield
            eventually(lambda: not stack.fires("CommandsLate"), _PATIENCE)
    finally:
        stack.clock.set(0)


@contextmanager
def frozen_worker(stack: Stack) -> Iterator[None]:
    """A worker whose processes are stopped (SIGSTOP), with more messages than it has taken."""
    with _stopped(stack.worker):
        stack.register(50)
        yield


@contextmanager
def no_worker(stack: Stack) -> Iterator[None]:
    """No worker runs."""
    stack.worker.terminate()
    yield
    stack.worker.restart()


@contextmanager
def no_beat(stack: Stack) -> Iterator[None]:
    """Nothing sends what is scheduled: beat does not run."""
    eventually(lambda: stack.api.client.get("/api/v1/schedule", **stack.operator).body["items"])  # it has begun
    stack.beat.kill()
    yield
    stack.beat.start()


@contextmanager
def paused_lane(stack: Stack) -> Iterator[None]:
    """A lane is paused."""
    stack.act(f"/lanes/{LANE}/pause", {"reason": "drill"})
    try:
        yield
    finally:
        stack.act(f"/lanes/{LANE}/resume", {})


@contextmanager
def poisoned_lane(stack: Stack) -> Iterator[None]:
    """A message that no worker can process."""
    with Connection(stack.broker_url) as connection:
        Producer(connection.default_channel).publish(
            b"{", exchange=COMMANDS, routing_key=LANE, content_type="text/plain"
        )
    yield
    for letter in stack.api.client.get("/api/v1/dead-letters", **stack.operator).body["items"]:
        stack.act(f"/dead-letters/{letter['id']}/discard", {"reason": "drill"})


@contextmanager
def no_broker(stack: Stack) -> Iterator[None]:
    """RabbitMQ is away, and commands are accepted into the outbox."""
    with stack.rabbitmq.stopped():
        stack.register(5)
        yield


@contextmanager
def frozen_api(stack: Stack) -> Iterator[None]:
    """The API's processes are stopped (SIGSTOP)."""
    with _stopped(stack.api):
        yield


@contextmanager
def no_database(stack: Stack) -> Iterator[None]:
    """PostgreSQL is away."""
    stack.postgres.primary.stop()
    try:
        yield
    finally:
        stack.postgres.primary.start()


@contextmanager
def no_replica(stack: Stack) -> Iterator[None]:
    """The replica is away."""
    stack.postgres.standby.stop()
    try:
        yield
    finally:
        stack.postgres.standby.start()


@contextmanager
def waiting_commits(stack: Stack) -> Iterator[None]:
    """Every commit waits for a standby that is away."""
    stack.postgres.keep_in_step()
    stack.postgres.standby.stop()
    try:
        yield
    finally:
        stack.postgres.let_it_lag()
        stack.postgres.standby.start()


@contextmanager
def neither(stack: Stack) -> Iterator[None]:
    """RabbitMQ and PostgreSQL are away, and clients go on."""
    with stack.rabbitmq.stopped(), no_database(stack), _repeated(lambda: stack.register(1)):
        yield


@contextmanager
def no_mail_server(stack: Stack) -> Iterator[None]:
    """The mail server is away, and users register."""
    stack.mail_servers.pop().__exit__()
    try:
        with _repeated(lambda: stack.register(1)):
            yield
    finally:
        stack.mail_servers.append(HangingServer(port=stack.mail_port).__enter__())


@contextmanager
def guessed_passwords(stack: Stack) -> Iterator[None]:
    """Somebody guesses passwords, ten a second."""
    with _repeated(lambda: stack.guess(5)):
        yield


@contextmanager
def leaking_api(stack: Stack) -> Iterator[None]:
    """The API's processes take 16 MiB more each second."""
    stack.leak.touch()
    try:
        yield
    finally:
        stack.leak.unlink()


FAULTS: dict[str, Callable[[Stack], AbstractContextManager[None]]] = {
    "CommandsLate": late_commands,
    "ClockWrong": wrong_clock,
    "LaneNotMoving": frozen_worker,
    "LaneWithoutConsumers": no_worker,
    "HousekeepingStopped": no_beat,
    "LanePausedLong": paused_lane,
    "DeadLettersOpen": poisoned_lane,
    "OutboxGrowing": no_broker,
    "CommandsRefused": neither,
    "ApiAway": frozen_api,
    "DatabaseAway": no_database,
    "CommitsWait": waiting_commits,
    "ReplicaAway": no_replica,
    "BrokerAway": no_broker,
    "MailServerAway": no_mail_server,
    "SignInsRefused": guessed_passwords,
    "MemoryGrowing": leaking_api,
}


@contextmanager
def running() -> Iterator[Stack]:
    """The stack, with everything well."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="drill-"))
        directory.chmod(0o755)
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        postgres = Pair(directory)
        stack.callback(postgres.stop)
        (directory / "rabbitmq").mkdir()
        rabbitmq = RabbitMQ(directory / "rabbitmq")
        stack.callback(rabbitmq.stop)
        rabbitmq.start()
        broker_url = stack.enter_context(rabbitmq.vhost())
        mail_servers = [HangingServer().__enter__()]
        stack.callback(lambda: mail_servers.pop().__exit__())
        mail_port = mail_servers[0].port
        settings = environment(
            BROKER_URL=broker_url,
            DATABASE_URL=postgres.primary.url,
            DATABASE_READ_URL=postgres.standby.url,
            MAIL_URL=f"smtp://127.0.0.1:{mail_port}?tls=none",
            REGISTRATIONS_PER_ADDRESS="1000000",
            JWT_EXPIRE_MINUTES="120",
        )
        leak = directory / "leak"
        (directory / "python").mkdir()
        (directory / "python/sitecustomize.py").write_text(_LEAKS)
        leaking = {"PYTHONPATH": str(directory / "python"), "LEAK": str(leak)}
        api = stack.enter_context(ApiProcess({**settings, **leaking}))
        (directory / "metrics").mkdir()
        health = {"HEALTH_PORT": str(free_port()), "PROMETHEUS_MULTIPROC_DIR": str(directory / "metrics")}
        pool = ("--pool", "prefork", "--concurrency", "2")
        clock = Clock(directory)
        worker = stack.enter_context(WorkerProcess({**settings, **health, **clock.environment}, *pool))
        schedule = stack.enter_context(beat(settings))
        targets = {"api": api.url.removeprefix("http://"), "worker": f"127.0.0.1:{health['HEALTH_PORT']}"}
        alerts = stack.enter_context(_watched(directory, targets))
        yield Stack(
            api,
            worker,
            schedule,
            rabbitmq,
            broker_url,
            postgres,
            clock,
            administrator(api.client, settings),
            alerts,
            mail_servers,
            mail_port,
            leak,
        )


@contextmanager
def _watched(directory: Path, targets: Mapping[str, str]) -> Iterator[Client]:
    """Alertmanager, told by a Prometheus that scrapes the targets."""
    manager, address = free_port(), f"127.0.0.1:{free_port()}"
    _write(directory / "alertmanager.yml", {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]})
    _write(directory / "rules.yml", _in_haste(yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())))
    scraped = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
    _write(
        directory / "prometheus.yml",
        {
            "global": {"scrape_interval": "5s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": scraped,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]},
        },
    )
    programs = [
        Program(
            "prometheus-alertmanager",
            shutil.which("prometheus-alertmanager") or "alertmanager",
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{manager}",
            "--cluster.listen-address=",
            environment=environment(),
        ),
        Program(
            "prometheus",
            shutil.which("prometheus") or "prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'figures'}",
            f"--web.listen-address={address}",
            environment=environment(),
        ),
    ]
    with programs[0], programs[1]:
        yield Client(f"http://127.0.0.1:{manager}")


def _in_haste(rules: dict[str, Any]) -> dict[str, Any]:
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "5s"
            rule["expr"] = re.sub(r"\[\w+\]", "[30s]", rule["expr"])
    return rules


def _write(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content))


@contextmanager
def _stopped(program: Program) -> Iterator[None]:
    assert program.process is not None
    os.killpg(program.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(program.process.pid, signal.SIGCONT)


@contextmanager
def _repeated(act: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def again() -> None:
        while not over.wait(0.5):
            act()

    repeating = threading.Thread(target=again)
    repeating.start()
    try:
        yield
    finally:
        over.set()
        repeating.join()


def drill(stack: Stack, alert: str) -> str:
    """A line of the table: the seconds from the fault to the alert, and from its end to silence.

    Raises:
        AssertionError: the alert fires before the fault, does not fire with it, or does not resolve after it.
    """
    eventually(lambda: not stack.fires(alert), _PATIENCE)
    begun = monotonic()
    with FAULTS[alert](stack):
        eventually(lambda: stack.fires(alert), _PATIENCE)
        fired = monotonic() - begun
    ended = monotonic()
    eventually(lambda: not stack.fires(alert), _PATIENCE)
    fault = (FAULTS[alert].__doc__ or "").rstrip(".")
    return f"| {alert} | {fault} | {fired:.0f} | {monotonic() - ended:.0f} |"


def main() -> int:
    """Print the table; 1 if an alert did not do its duty."""
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--alert", choices=FAULTS, action="append", help="only this one; repeatable")
    chosen = parser.parse_args().alert or list(FAULTS)
    done = True
    print("| alert | fault | fired after (s) | resolved after (s) |\n|---|---|---:|---:|", flush=True)
    with running() as stack:
        for alert in chosen:
            try:
                print(drill(stack, alert), flush=True)
            except AssertionError as error:
                done = False
                print(f"| {alert} | {error} | - | - |", flush=True)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
