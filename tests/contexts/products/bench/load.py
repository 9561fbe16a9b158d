"""What more work costs: more messages that wait, more commands since the start."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen
from uuid import uuid4

import psutil
import psycopg
from kombu import Connection

from bench.measuring import (
    BARE,
    OURS,
    REPEATS,
    Figure,
    await_http,
    granian,
    process,
    program,
    rabbitmqctl,
    wrk,
)
from bench.signing_in import administrator

_LANE = "products.commands"
_BODY = json.dumps({"name": "Laptop", "price": "899.99", "stock": 1})
_ACCEPTED = 500
"""Commands per repeat; their 99th percentile counts."""
_SAMPLES = 10


def while_many_wait(environment: dict[str, str]) -> Figure:
    """The 99th percentile of an acceptance with a million messages in the lane, against an empty lane.
    `waiting=100000` puts in so many.
    """
    many = int(environment.get("BENCH_WAITING") or 1_000_000)
    with (
        _virtual_host(environment) as full,
        process(full, *granian("wsgi:app", OURS)),
        process(environment, *granian("wsgi:app", BARE)),
    ):
        for port in (OURS, BARE):
            await_http(f"http://127.0.0.1:{port}/health/ready")
        token = administrator(environment)
        _accepted(OURS, token)  # declares the lane
        _fill(full["BROKER_URL"], many)
        pairs = []
        for _ in range(REPEATS + 1):
            pairs.append((_accepted(OURS, token), _accepted(BARE, token)))
            rabbitmqctl("purge_queue", "-p", environment["BROKER_URL"].rpartition("/")[2], _LANE)
    return Figure(f"p99 of an acceptance, {many:,} messages in the lane to 0", "-", "ms", pairs[1:])


def memory(environment: dict[str, str]) -> str:
    """Memory of the API and of a worker while they process 200,000 commands. `memory=20000` stops after so many.

    The worker's processes are not replaced, as they are in production after 10,000 messages.
    """
    commands = int(environment.get("BENCH_MEMORY") or 200_000)
    environment = {**environment, "JWT_EXPIRE_MINUTES": "600"}
    api = granian("wsgi:app", OURS)
    celery = [program("celery"), "-A", "tasks.app", "worker", "-c", str(os.cpu_count() or 1), "--without-mingle"]
    celery += ["--without-gossip", "--max-tasks-per-child", "1000000000"]
    lines = ["| commands | API (MiB) | worker (MiB) |", "|---|---|---|"]
    with (
        psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection,
        _measurable(environment, api) as server,
        _measurable(environment, celery) as consumers,
    ):
        await_http(f"http://127.0.0.1:{OURS}/health/ready")
        token, wanted = administrator(environment), 0
        while wanted < commands:
            wanted += commands // _SAMPLES
            while (done := _processed(connection)) < wanted:
                wrk(f"http://127.0.0.1:{OURS}/api/v1/products", body=_BODY, token=token)
                _await_idle(connection)
            lines.append(f"| {done:,} | {_mebibytes(server)} | {_mebibytes(consumers)} |")
    return "\n".join(lines)


def _await_idle(connection: psycopg.Connection) -> None:
    """Until nothing more is processed: the next batch of commands must not wait behind this one."""
    before = -1
    while (done := _processed(connection)) > before or not done:
        before = done
        time.sleep(1)


def _processed(connection: psycopg.Connection) -> int:
    return int(connection.execute("select count(*) from products").fetchall()[0][0])


def _mebibytes(root: psutil.Process) -> int:
    """Proportional set size: memory that processes share counts once."""
    return round(sum(one.memory_full_info().pss for one in (root, *root.children(recursive=True))) / 2**20)


def _accepted(port: int, token: str) -> float:
    """Milliseconds."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    times = []
    for _ in range(_ACCEPTED):
        request = Request(f"http://127.0.0.1:{port}/api/v1/products", _BODY.encode(), headers)
        started = time.perf_counter()
        with urlopen(request, timeout=15) as response:
            response.read()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(times, n=100)[98]


def _fill(broker: str, many: int) -> None:
    """As long as messages of ours; nobody consumes them."""
    with Connection(broker) as connection:
        producer = connection.Producer(auto_declare=False)
        for _ in range(many):
            producer.publish(b"x" * 1000, routing_key=_LANE, delivery_mode=2, content_type="application/data")


@contextmanager
def _measurable(environment: dict[str, str], command: list[str]) -> Iterator[psutil.Process]:
    started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(60)


@contextmanager
def _virtual_host(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Another one, with the same database."""
    name = f"bench_{uuid4().hex[:8]}"
    rabbitmqctl("add_vhost", name)
    rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    try:
        yield {**environment, "BROKER_URL": f"{environment['BROKER_URL'].rpartition('/')[0]}/{name}"}
    finally:
        rabbitmqctl("delete_vhost", name)
