"""The same job with what one would use instead: accept over HTTP, insert a row. Each in turn, on the same machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import psycopg

from bench.measuring import OURS, await_http, granian, process, rabbitmqctl, worker, wrk
from bench.signing_in import administrator

ROUNDS = 5
_HOME = Path("var/bench/peers")
_REQUIREMENTS = Path("bench/peers/requirements.txt")
_CORES = str(os.cpu_count() or 1)
_SECONDS = 8
"""For how long a worker processes what waits, at most."""
_TIMES = 50
"""Requests, one after the other, until the row of each is there."""
_ROW = {"name": "Laptop", "price": "899.99"}
_OURS = "this project"


@dataclass(frozen=True)
class Peer:
    """A library.

    Attributes:
        module: below `bench.peers`, with the Flask application `app`.
        worker: the command of its worker.
        clear: removes what waits: a queue, or a statement.
        lacks: what this project guarantees and it does not, with these settings.
    """

    module: str
    worker: tuple[str, ...]
    clear: str
    lacks: str


PEERS = {
    "Celery": Peer(
        "bare_celery",
        (
            "celery",
            "-A",
            "bench.peers.bare_celery:celery",
            "worker",
            "-c",
            _CORES,
            "--without-mingle",
            "--without-gossip",
        ),
        "peer_celery",
        "confirmed acceptance; messages of a killed worker; effect once; outcome for the caller",
    ),
    "dramatiq": Peer(
        "with_dramatiq",
        ("dramatiq", "bench.peers.with_dramatiq", "--processes", _CORES, "--threads", "8"),
        "peer_dramatiq",
        "confirmed acceptance; effect once; outcome for the caller",
    ),
    "procrastinate": Peer(
        "with_procrastinate",
        (
            *("procrastinate", "--app", "bench.peers.with_procrastinate.worker", "worker", "--queues", "peers"),
            *("--concurrency", "20", "--delete-jobs", "always"),
        ),
        "truncate procrastinate_jobs cascade",
        "acceptance without PostgreSQL; jobs of a killed worker; effect once; outcome for the caller",
    ),
}


@dataclass(frozen=True)
class Measured:
    """One round of one library: per second, per second, milliseconds."""

    accepted: float
    processed: float
    until_row: float


def peers(environment: dict[str, str]) -> str:
    """Accepted and processed per second, and the time from the request to the row, of this project and its peers.
    `peers=3` measures three rounds.
    """
    rounds = int(environment.get("BENCH_PEERS") or ROUNDS)
    _install()
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        _prepare(environment, connection)
        names = [_OURS, *PEERS]
        measured = [{name: _round(environment, connection, name) for name in names} for _ in range(rounds)]
    head = "| library | accepted/s | processed/s | from request to row (ms) | lacks |\n|---|---|---|---|---|"
    return "\n".join([head, *(_line(name, [one[name] for one in measured]) for name in names)])


def _line(name: str, measured: list[Measured]) -> str:
    cells = [
        f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
        for digits, values in (
            (0, [one.accepted for one in measured]),
            (0, [one.processed for one in measured]),
            (1, [one.until_row for one in measured]),
        )
    ]
    return f"| {name} | {' | '.join(cells)} | {PEERS[name].lacks if name in PEERS else '-'} |"


def _install() -> None:
    """Into an environment of its own, once per list of versions."""
    done = _HOME / "requirements.txt"
    if done.exists() and done.read_text() == _REQUIREMENTS.read_text():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(_HOME)], check=True)
    subprocess.run([_HOME / "bin/pip", "install", "--quiet", "--requirement", str(_REQUIREMENTS)], check=True)
    done.write_text(_REQUIREMENTS.read_text())


def _prepare(environment: dict[str, str], connection: psycopg.Connection) -> None:
    connection.execute(
        "create table peer_rows (id uuid primary key, name text not null, price numeric(12, 2) not null,"
        " created_at timestamptz not null default clock_timestamp())"
    )
    schema = [str(_HOME / "bin/procrastinate"), "--app", "bench.peers.with_procrastinate.worker", "schema", "--apply"]
    subprocess.run(schema, env=environment, check=True, capture_output=True)


def _round(environment: dict[str, str], connection: psycopg.Connection, name: str) -> Measured:
    connection.execute("truncate peer_rows, products, operations, outbox cascade")
    path, body, token = "/rows", json.dumps(_ROW), ""
    with _server(environment, name):
        if name == _OURS:
            path, body, token = "/api/v1/products", json.dumps({**_ROW, "stock": 1}), administrator(environment)
        url = f"http://127.0.0.1:{OURS}{path}"
        accepted = wrk(url, body=body, token=token)
        with _worker(environment, name):
            processed = _processed_per_second(connection, name)
        _clear(environment, connection, name)
        with _worker(environment, name):
            for _ in range(5):  # until connections are open
                _until_row(connection, name, url, body, token)
            times = [_until_row(connection, name, url, body, token) for _ in range(_TIMES)]
    return Measured(accepted, processed, statistics.median(times))


def _processed_per_second(connection: psycopg.Connection, name: str) -> float:
    """From the times of the rows, without the first tenth, during which processes start."""
    count, times = _TABLES[name]
    started = time.monotonic()
    before = -1
    while time.monotonic() < started + 60:
        ((now,),) = connection.execute(count).fetchall()
        if now and before < 0:
            started, before = time.monotonic(), 0
        if now and (time.monotonic() > started + _SECONDS or now == before):
            break
        before = now or before
        time.sleep(0.5)
    found = [at for (at,) in connection.execute(times)]
    counted = found[len(found) // 10 :]
    return float((len(counted) - 1) / (counted[-1] - counted[0]).total_seconds())


_TABLES = dict.fromkeys(PEERS, ("select count(*) from peer_rows", "select created_at from peer_rows order by 1")) | {
    _OURS: (
        "select count(*) from products",
        "select finished_at from operations where name = 'products.create_product' order by 1",
    )
}


def _until_row(connection: psycopg.Connection, name: str, url: str, body: str, token: str) -> float:
    """Milliseconds."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = Request(url, body.encode(), headers)
    started = time.perf_counter()
    with urlopen(request, timeout=15) as response:
        answer = json.load(response)
    row_id = answer["resource"].rpartition("/")[2] if name == _OURS else answer["id"]
    table = "products" if name == _OURS else "peer_rows"
    while not connection.execute(f"select from {table} where id = %s", [row_id]).rowcount:
        if time.perf_counter() > started + 60:
            raise RuntimeError(f"{name}: no row within a minute")
        time.sleep(0.0005)
    return (time.perf_counter() - started) * 1000


def _clear(environment: dict[str, str], connection: psycopg.Connection, name: str) -> None:
    waiting = PEERS[name].clear if name in PEERS else "products.commands"
    if " " in waiting:
        connection.execute(waiting.encode())
    else:
        rabbitmqctl("purge_queue", "-p", environment["BROKER_URL"].rpartition("/")[2], waiting)


@contextmanager
def _server(environment: dict[str, str], name: str) -> Iterator[None]:
    """The same server with the same options for all."""
    command = granian("wsgi:app", OURS)
    if name in PEERS:
        command = [str(_HOME / "bin/granian"), *granian(f"bench.peers.{PEERS[name].module}:app", OURS)[1:]]
    with process(environment, *command):
        await_http(f"http://127.0.0.1:{OURS}/health/ready")
        yield


@contextmanager
def _several(environment: dict[str, str], command: tuple[str, ...], number: int) -> Iterator[None]:
    if not number:
        yield
        return
    with (
        process(environment, str(_HOME / "bin" / command[0]), *command[1:]),
        _several(environment, command, number - 1),
    ):
        yield


def _worker(environment: dict[str, str], name: str) -> AbstractContextManager[None]:
    if name == _OURS:
        return worker(environment, int(_CORES))
    # Its worker is one process; the others start one per core themselves.
    number = int(_CORES) if name == "procrastinate" else 1
    return _several(environment, PEERS[name].worker, number)
