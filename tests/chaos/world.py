"""Everything the program runs on, ours to break: RabbitMQ behind a network, PostgreSQL, and its processes."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psutil

from tests.broker import RabbitMQ
from tests.chaos.clock import Clock
from tests.cluster import Cluster
from tests.flow.client import Client
from tests.flow.programs import ApiProcess, administrator, beat
from tests.hosts import Host
from tests.pooler import pooler
from tests.postgres import Postgres, migrate
from tests.proxy import Proxy
from tests.standby import Pair
from tests.worker import Program, WorkerProcess, environment, eventually

_LOOK_EVERY = 0.2


class World:
    """Two API processes, two workers and beat; whatever dies is started again, as a supervisor would.

    Attributes:
        rabbitmq, network: the broker, and the network between it and the program.
        cluster: in place of both, several nodes.
        postgres: the database server.
        pair: that server and its standby, for a world that has one.
        database_url: whichever server accepts writes, without a pooler.
        hosts: those that can be cut off, by name, of a world on several.
        clock: what the last of the API processes takes for the time.
        apis, workers: the processes to be killed.
        mail: where mails arrive, one file each.

    Args:
        nodes: of RabbitMQ.
        standby: PostgreSQL has a standby, in step with it, that may take over and answers anonymous queries.
        pooler: the pool mode of a PgBouncer between the program and PostgreSQL.
        settings: environment variables of the program.
    """

    cluster: Cluster
    pair: Pair
    network: Proxy
    hosts: Mapping[str, Host]
    worker_count = 2

    def __init__(self, *, nodes: int = 1, standby: bool = False, pooler: str | None = None, **settings: str) -> None:
        self._nodes, self._standby, self._pooler = nodes, standby, pooler
        self._settings = settings
        self._stack = ExitStack()
        self._ending = threading.Event()
        self._out_of_rotation: ApiProcess | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        directory.chmod(0o755)
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        database = self._start_postgres(directory)
        broker = self._start_rabbitmq(directory / "rabbitmq")
        self.mail = directory / "mail"
        unlimited = {"REGISTRATIONS_PER_ADDRESS": "1000000", "REGISTRATIONS": "1000000"}  # all come from here
        self.environment = environment(
            BROKER_URL=broker,
            MAIL_URL=f"file:{self.mail}",
            **database | unlimited | self._settings,
        )
        self.clock = Clock(directory)
        self.apis = [
            self._stack.enter_context(self._api(number, {**self.environment, **its_clock}))
            for number, its_clock in enumerate(({}, self.clock.environment))
        ]
        self.workers = [self._stack.enter_context(self._worker(number)) for number in range(self.worker_count)]
        self.beat = self._stack.enter_context(beat(self.environment))
        supervisor = threading.Thread(target=self._supervise, daemon=True)
        supervisor.start()
        self._stack.callback(supervisor.join)
        self._stack.callback(self._ending.set)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, number: int) -> Client:
        """A client of one of the API processes, in turn, as a load balancer chooses."""
        serving = [api for api in self.apis if api is not self._out_of_rotation]
        return serving[number % len(serving)].client

    @contextmanager
    def out_of_rotation(self, api: ApiProcess) -> Iterator[None]:
        """While inside, the load balancer gives that API process no new request."""
        self._out_of_rotation = api
        try:
            yield
        finally:
            self._out_of_rotation = None

    def restart(self, program: Program) -> None:
        """SIGTERM to the program, and wait until the supervisor has another one running in its place."""
        before = program.process
        assert before is not None
        before.terminate()
        eventually(lambda: program.process is not before and program.running)

    def sign_in(self) -> dict[str, str]:
        """The headers of a new administrator's requests."""
        return administrator(self.client(0), self.environment)

    def rotate_keys(self) -> None:
        """One step of `flask keys rotate`; the programs get the new keys with their next start."""
        arguments = ("--app", "wsgi", "keys", "rotate")
        with Program("flask", "flask", *arguments, environment=self.environment) as command:
            assert command.ended() == 0, command.logs()
        rotated = dict(re.findall(r"^Set (\w+) to:\n(.+)$", command.logs(), re.MULTILINE))
        for settings in (self.environment, *(one.environment for one in (*self.apis, *self.workers, self.beat))):
            settings.update(rotated)

    def memory(self) -> int:
        """Bytes that the API processes and the workers have in memory."""
        return sum(_memory(program) for program in (*self.apis, *self.workers))

    def core_seconds(self) -> dict[str, float]:
        """Processor time of each part so far. Only for a world on one host."""
        return {
            "API": sum(_core_seconds(_process(api)) for api in self.apis),
            "workers": sum(_core_seconds(_process(worker)) for worker in self.workers),
            "PostgreSQL": _core_seconds(self.postgres.process),
            "RabbitMQ": _core_seconds(self.rabbitmq.process),
        }

    def healed(self) -> None:
        """Wait until every process answers again."""
        for api in self.apis:
            eventually(partial(is_ready, api.client))

    def _api(self, number: int, environment: Mapping[str, str]) -> ApiProcess:
        return ApiProcess(environment)

    def _worker(self, number: int) -> WorkerProcess:
        return WorkerProcess(self.environment, "--pool", "prefork", "--concurrency", "2")

    def _start_postgres(self, directory: Path) -> dict[str, str]:
        """Start it; returns the program's settings."""
        if self._standby:
            self.pair = Pair(directory)
            self._stack.callback(self.pair.stop)
            self.pair.keep_in_step()
            self.postgres, self.database_url = self.pair.primary, self.pair.either
            return {"DATABASE_URL": self.database_url, "DATABASE_READ_URL": self.pair.standby.url}
        self.postgres = Postgres(directory / "postgres")
        self._stack.callback(self.postgres.stop)
        migrate(self.postgres.url)
        self.database_url = self.postgres.url
        if self._pooler is None:
            return {"DATABASE_URL": self.database_url}
        pooled = self._stack.enter_context(pooler(self.database_url, self._pooler, size=80))
        return {"DATABASE_URL": pooled, "DATABASE_DIRECT_URL": self.database_url}

    def _start_rabbitmq(self, directory: Path) -> str:
        """Start it; returns its address for the program."""
        if self._nodes > 1:
            self.cluster = self._stack.enter_context(Cluster(directory, self._nodes))
            self.broker_url = self.cluster.url
            return self.broker_url
        self.rabbitmq = RabbitMQ(directory)
        self._stack.callback(self.rabbitmq.stop)
        self.rabbitmq.start()
        self.broker_url = self._stack.enter_context(self.rabbitmq.vhost())
        self.network = self._stack.enter_context(Proxy("127.0.0.1", self.rabbitmq.port))
        return urlsplit(self.broker_url)._replace(netloc=f"guest:guest@127.0.0.1:{self.network.port}").geturl()

    def _supervise(self) -> None:
        while not self._ending.wait(_LOOK_EVERY):
            for program in (*self.apis, *self.workers, self.beat):
                if not program.running and not self._ending.is_set():
                    program.start()


def _process(program: Program) -> psutil.Process:
    assert program.process is not None
    return psutil.Process(program.process.pid)


def _memory(program: Program) -> int:
    process = _process(program)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def _core_seconds(process: psutil.Process) -> float:
    """Of the process and its descendants, those that have ended included."""
    times = (one.cpu_times() for one in (process, *process.children(recursive=True)))
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


def is_ready(client: Client) -> bool:
    """Whether the API process answers and reaches what it needs."""
    try:
        ready = client.get("/health/ready")
        return ready.status == 200 and bool(ready.body["status"] == "ok")
    except OSError:
        return False
