"""How a figure is measured: two sides alternately, on a database and a virtual host of their own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import bcrypt
import psycopg

REPEATS = 5
SECONDS = 5
CONNECTIONS = 8
OURS, BARE = 8190, 8191
ROUNDS = 12
POST_LUA = """
local n = 0
local tag = "%s"
local id = 0
function setup(thread) id = id + 1; thread:set("id", id) end
function request()
  n = n + 1
  local email = string.format("%%s-%%d-%%d@example.com", tag, id, n)
  local body = '{"name":"Ada","email":"' .. email .. '","password":"correct horse battery"}'
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
end
"""

_SAME_LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[%s]]
"""


@dataclass(frozen=True)
class Figure:
    """One line of the table: pairs of measurements, and the target of their ratio."""

    name: str
    target: str
    unit: str
    pairs: Sequence[tuple[float, float]]

    @property
    def ratios(self) -> list[float]:
        """Ours to the bare one's."""
        return [ours / bare for ours, bare in self.pairs]

    def __str__(self) -> str:
        ours, bare = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        low, high = min(self.ratios), max(self.ratios)
        middle = statistics.median(self.ratios)
        ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        return f"| {self.name} | {ours:.1f} | {bare:.1f} | {self.unit} | {ratio} | {self.target} |"


def in_turn(ours: Callable[[], float], bare: Callable[[], float]) -> list[tuple[float, float]]:
    ours(), bare()  # warm up
    return [(ours(), bare()) for _ in range(REPEATS)]


def wrk(url: str, *, new_users: bool = False, body: str = "", token: str = "") -> float:
    """Requests per second: GET, or POST of this body, or POST of a new user each time."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s"]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if new_users or body:
            script.write(POST_LUA % uuid4().hex[:8] if new_users else _SAME_LUA % body)
            script.flush()
            command += ["-s", script.name]
        output = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(f"{url} answered errors:\n{output}")
    return float(next(line.split()[1] for line in output.splitlines() if line.startswith("Requests/sec")))


@contextmanager
def surroundings() -> Iterator[dict[str, str]]:
    """A database and a virtual host for the `with` block."""
    name = f"bench_{uuid4().hex[:8]}"
    server = os.environ.get("BENCH_DATABASE_URL", "postgresql://postgres@127.0.0.1/postgres")
    broker = os.environ.get("BENCH_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    rabbitmqctl("add_vhost", name)
    rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path.cwd()),
        "DATABASE_URL": f"{server.rpartition('/')[0]}/{name}",
        "BROKER_URL": f"{broker.rstrip('/')}/{name}",
        "BCRYPT_ROUNDS": str(ROUNDS),
        "LOG_FORMAT": "json",  # as in production
        "REGISTRATIONS_PER_ADDRESS": "1000000",  # more than can be sent
        "REGISTRATIONS": "1000000",
        "JWT_SECRET": uuid4().hex * 2,
    }
    try:
        subprocess.run([program("alembic"), "upgrade", "heads"], check=True, env=environment, capture_output=True)
        yield environment
    finally:
        rabbitmqctl("delete_vhost", name)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")


@contextmanager
def database_beside(environment: dict[str, str], name: str) -> Iterator[dict[str, str]]:
    """The environment of another database, migrated, for the `with` block."""
    beside = f"{environment['DATABASE_URL'].rpartition('/')[2]}_{name}"
    url = f"{environment['DATABASE_URL'].rpartition('/')[0]}/{beside}"
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"create database {beside}")
        try:
            there = {**environment, "DATABASE_URL": url}
            subprocess.run([program("alembic"), "upgrade", "heads"], check=True, env=there, capture_output=True)
            yield there
        finally:
            connection.execute(f"drop database {beside} with (force)")


@contextmanager
def servers(environment: dict[str, str], bare: str = "bench.bare:app") -> Iterator[None]:
    with process(environment, *granian("wsgi:app", OURS)), process(environment, *granian(bare, BARE)):
        await_http(f"http://127.0.0.1:{OURS}/health/ready")
        await_http(f"http://127.0.0.1:{BARE}/health")
        yield


@contextmanager
def worker(
    environment: dict[str, str],
    processes: int,
    application: str = "tasks.app",
    lanes: str = "",
    options: Sequence[str] = ("--pool", "prefork"),
) -> Iterator[None]:
    """A worker with this many processes and these kinds of lanes, or all, as docker-compose.yml starts it."""
    arguments = ["-A", application, "worker", "-c", str(processes), "-n", f"bench-{uuid4().hex}@%h"]
    quiet = ["--without-mingle", "--without-gossip"]
    with process({**environment, "LANES": lanes}, program("celery"), *arguments, *options, *quiet):
        yield


@contextmanager
def process(environment: dict[str, str], *command: str) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def granian(application: str, port: int, python: str = sys.executable) -> list[str]:
    server = [str(Path(python).with_name("granian")), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
    return [*server, "--workers", "2", "--blocking-threads", "16", "--workers-kill-timeout", "30", application]


def await_http(url: str) -> None:
    for _ in range(300):
        try:
            with urlopen(url, timeout=1):
                return
        except OSError as error:
            if getattr(error, "code", 0):
                return
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def rabbitmqctl(*arguments: str) -> None:
    subprocess.run(["rabbitmqctl", "-q", *arguments], check=True, capture_output=True)


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def hashes_per_second(processes: int) -> float:
    context = get_context("spawn")
    with context.Pool(processes) as pool:
        pool.map(hash_times, [1] * processes)  # warm up
        started = time.perf_counter()
        pool.map(hash_times, [16] * processes, chunksize=1)
        return 16 * processes / (time.perf_counter() - started)


def work_milliseconds() -> float:
    """The time of plain work that touches as much memory as processing a message."""
    started = time.perf_counter()
    json.loads(json.dumps([{"id": number, "name": str(number)} for number in range(3000)]))
    return (time.perf_counter() - started) * 1000


def hash_times(count: int) -> None:
    for _ in range(count):
        bcrypt.hashpw(b"k" * 44, bcrypt.gensalt(ROUNDS))
