"""The program on hosts of its own: gateway, two for the API, two for workers, RabbitMQ, PostgreSQL. Needs root."""

from __future__ import annotations

import pwd
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.broker import RabbitMQ
from tests.chaos.subjects import subjects
from tests.chaos.world import World
from tests.flow.client import Client
from tests.flow.programs import ApiProcess
from tests.gateway import gateway
from tests.hosts import Bridge, Host
from tests.postgres import Postgres, migrate
from tests.standby import program
from tests.worker import WorkerProcess, eventually

_NETWORK = "10.92.0"
_ADDRESSES = {
    "gateway": f"{_NETWORK}.1",
    "api1": f"{_NETWORK}.11",
    "api2": f"{_NETWORK}.12",
    "worker1": f"{_NETWORK}.21",
    "worker2": f"{_NETWORK}.22",
    "broker": f"{_NETWORK}.31",
    "database": f"{_NETWORK}.41",
}
_RATES = 3
_USERS = 60
"""Registrations per measurement."""


class Hosts(World):
    """A world whose clients reach it through the gateway only."""

    def _start(self) -> None:
        bridge = Bridge("hosts")
        self._stack.callback(bridge.remove)
        bridge.make(f"{_NETWORK}.254")
        self.hosts = {name: Host(name) for name in _ADDRESSES}
        for name, host in self.hosts.items():
            self._stack.callback(host.remove)
            host.make()
            host.connect("net", _ADDRESSES[name], to=bridge)
        self._settings["TRUSTED_PROXIES"] = "1"
        super()._start()
        urls = [api.url for api in self.apis]
        host, address = self.hosts["gateway"], _ADDRESSES["gateway"]
        self._gateway = self._stack.enter_context(gateway(self.mail.parent, urls, address=address, inside=host.inside))

    def client(self, number: int) -> Client:
        """A client of the gateway, which chooses the API host."""
        return self._gateway

    def _api(self, number: int, environment: Mapping[str, str]) -> ApiProcess:
        name = f"api{number + 1}"
        api = ApiProcess(environment, address=_ADDRESSES[name])
        api.inside = self.hosts[name].inside
        return api

    def _worker(self, number: int) -> WorkerProcess:
        worker = super()._worker(number)
        worker.inside = self.hosts[f"worker{number + 1}"].inside
        return worker

    def _start_postgres(self, directory: Path) -> dict[str, str]:
        data = directory / "postgres"
        server = Postgres(data)
        migrate(server.url)
        server.stop()
        with (data / "pg_hba.conf").open("a") as more:
            more.write(f"host all all {_NETWORK}.0/24 trust\n")
        address, owner = _ADDRESSES["database"], pwd.getpwnam(data.owner())
        self._log = directory / "postgres.log"
        log = self._stack.enter_context(self._log.open("w"))
        self._database = subprocess.Popen(
            (
                *self.hosts["database"].inside,
                *(f"--setuid={owner.pw_uid}", f"--setgid={owner.pw_gid}"),
                *(program("postgres"), "-D", data, "-h", address, "-k", data),
            ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
        self._stack.callback(self._database.wait)
        self._stack.callback(self._database.send_signal, signal.SIGINT)  # without waiting for its clients
        self.database_url = f"postgresql://postgres@{address}/postgres"
        eventually(self._database_answers)
        return {"DATABASE_URL": self.database_url}

    def _start_rabbitmq(self, directory: Path) -> str:
        self.rabbitmq = RabbitMQ(directory, host=self.hosts["broker"], address=_ADDRESSES["broker"])
        self._stack.callback(self.rabbitmq.stop)
        self.rabbitmq.start()
        self.broker_url = self.rabbitmq.url
        return self.broker_url

    def _database_answers(self) -> bool:
        assert self._database.poll() is None, self._log.read_text()
        try:
            psycopg.connect(self.database_url).close()
        except psycopg.OperationalError:
            return False
        return True


class _HashingHosts(Hosts):
    """The same for a measurement: one worker host at first, with one process, which hashes as production does."""

    worker_count = 1

    def __init__(self) -> None:
        super().__init__(BCRYPT_ROUNDS="12")

    def _worker(self, number: int) -> WorkerProcess:
        worker = WorkerProcess(self.environment, "--pool", "prefork", "--concurrency", "1")
        worker.inside = self.hosts[f"worker{number + 1}"].inside
        return worker

    @contextmanager
    def second_worker(self) -> Iterator[None]:
        """While inside, the second worker host takes messages as well."""
        with self._worker(1) as worker:
            yield
            worker.terminate()


def hashing_rates() -> dict[int, list[float]]:
    """Registrations hashed per second by one worker host and by two, measured in turn."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with _HashingHosts() as world:
        for _ in range(_RATES):
            rates[1].append(_rate(world))
            with world.second_worker():
                rates[2].append(_rate(world))
    return rates


def _rate(world: World) -> float:
    """From the first outcome to the last one: when they are accepted does not count."""
    subject = subjects()["users"]()
    subject.prepare(world)
    with psycopg.connect(world.database_url, autocommit=True) as database:
        (began,) = database.execute("select clock_timestamp()").fetchone() or ()
        for number in range(_USERS):
            path, body, headers = subject.request(number)
            answer = world.client(0).post(path, body, **headers)
            assert answer.status == 202, answer.content
        eventually(lambda: len(subject.effects(database)) == _USERS, patience=300)
        seconds = (
            "select extract(epoch from max(finished_at) - min(finished_at)) from operations where accepted_at > %s"
        )
        (found,) = database.execute(seconds.encode(), (began,)).fetchone() or ()
    return (_USERS - 1) / float(found)
