"""`make bench`: the figures, each as a ratio of two sides measured alternately in one run.

Needs PostgreSQL (BENCH_DATABASE_URL), RabbitMQ (BENCH_BROKER_URL) and `wrk` (Debian package wrk). Everything runs on
127.0.0.1. Each figure is the median and the range of `REPEATS` ratios. Arguments name figures, some of which take a
value: `growth=1000000`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import psycopg

from bench import signing_in
from bench.measuring import (
    BARE,
    CONNECTIONS,
    OURS,
    REPEATS,
    SECONDS,
    Figure,
    await_http,
    granian,
    hash_times,
    hashes_per_second,
    in_turn,
    process,
    rabbitmqctl,
    servers,
    surroundings,
    work_milliseconds,
    worker,
    wrk,
)

_OTHER_LANES = "commands,events,codes,mail,calls,maintenance"


def main() -> int:
    """Measure everything and print a table."""
    if shutil.which("wrk") is None:
        print("make bench needs wrk: apt-get install wrk", file=sys.stderr)
        return 1
    wanted = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    figures: dict[str, Callable[[dict[str, str]], object]] = {
        "machine": after_a_hash,
        "get": get_user,
        "post": post_user,
        "persist": persisted,
        "wait": waited,
        "validate": signing_in.validate_token,
        "login": signing_in.login,
        "storm": signing_in.reads_in_a_storm,
        **_of_contexts("FIGURES"),
    }
    on_request = {"interpreter": another_interpreter, **_of_contexts("ON_REQUEST")}
    with ExitStack() as stack:
        environment = stack.enter_context(surroundings())
        print(f"{REPEATS} repeats, wrk -t1 -c{CONNECTIONS} -d{SECONDS}s, {os.cpu_count()} cores; median (range)")
        print("| figure | ours | bare | unit | ratio | target |\n|---|---|---|---|---|---|")
        for name, measure in {**figures, **on_request}.items():
            if name in wanted or (not wanted and name in figures):
                print(measure({**environment, f"BENCH_{name.upper()}": wanted.get(name, "")}), flush=True)
    return 0


def _of_contexts(which: str) -> dict[str, Callable[[dict[str, str]], object]]:
    """The figures that lie with a context's tests, in `tests/contexts/<name>/bench/figures.py`: `FIGURES`, and those
    that are measured only when named, `ON_REQUEST`.
    """
    found: dict[str, Callable[[dict[str, str]], object]] = {}
    for path in sorted(Path("tests/contexts").glob("*/bench/figures.py")):
        found |= import_module(".".join(path.with_suffix("").parts)).__dict__.get(which, {})
    return found


def after_a_hash(environment: dict[str, str]) -> Figure:
    """What the machine itself adds: plain work right after a hash, against the same work repeated."""
    work_milliseconds()
    pairs = []
    for _ in range(REPEATS):
        hash_times(1)
        pairs.append((work_milliseconds(), min(work_milliseconds() for _ in range(5))))
    return Figure("plain Python right after a hash (this machine)", "-", "ms", pairs)


def get_user(environment: dict[str, str]) -> Figure:
    """GET one user against a bare Flask handler with raw psycopg, on the same server."""
    with servers(environment):
        somebody = signing_in.somebody(environment)
        ours = f"http://127.0.0.1:{OURS}/api/v1/users/{somebody.user_id}"
        bare = f"http://127.0.0.1:{BARE}/users/{somebody.user_id}"
        pairs = in_turn(lambda: wrk(ours, token=somebody.token), lambda: wrk(bare))
    return Figure("GET user by id, signed in", ">= 0.90", "requests/s", pairs)


def post_user(environment: dict[str, str]) -> str:
    """POST a user, accepted, against bare Flask handlers: one that sends the same Celery task, confirmed, and one
    that publishes the smallest possible message.
    """
    ours = partial(_sent, environment, f"http://127.0.0.1:{OURS}/api/v1/users")
    figures = []
    for path, bare, target in (
        ("tasks", "the same task sent with Celery", ">= 0.75"),
        ("users", "two headers, kombu", "-"),
    ):
        with servers(environment):
            pairs = in_turn(ours, partial(_sent, environment, f"http://127.0.0.1:{BARE}/{path}"))
        figures.append(Figure(f"POST user, accepted (bare: {bare})", target, "requests/s", pairs))
    return "\n".join(map(str, figures))


def another_interpreter(environment: dict[str, str]) -> str:
    """The API on another Python against the API on this one: `interpreter=<its python, in an environment with the same
    requirements>`.
    """
    other = environment["BENCH_INTERPRETER"]
    version = subprocess.check_output([other, "-c", "import platform; print(platform.python_version())"], text=True)
    both = f"on Python {version.strip()} (bare: on {platform.python_version()})"
    there, here = (f"http://127.0.0.1:{port}" for port in (OURS, BARE))
    with (
        process(environment, *granian("wsgi:app", OURS, other)),
        process(environment, *granian("wsgi:app", BARE)),
    ):
        await_http(f"{there}/health/ready")
        await_http(f"{here}/health/ready")
        somebody = signing_in.somebody(environment)
        path = f"/api/v1/users/{somebody.user_id}"
        read = in_turn(*(partial(wrk, base + path, token=somebody.token) for base in (there, here)))
        sent = in_turn(*(partial(_sent, environment, f"{base}/api/v1/users") for base in (there, here)))
    figures = (
        Figure(f"GET user {both}", "-", "requests/s", read),
        Figure(f"POST user, accepted {both}", "-", "requests/s", sent),
    )
    return "\n".join(map(str, figures))


def persisted(environment: dict[str, str]) -> Figure:
    """Users persisted per second by a hashing pool, against the hashes per second of as many processes.

    There is one more process than cores, so that a core stays busy while a process waits for database and broker.
    """
    processes, pairs = 1 + (os.cpu_count() or 1), []
    for _ in range(REPEATS):
        bare = hashes_per_second(processes)
        pairs.append((_users_per_second(environment, processes), bare))
    return Figure(f"users persisted, by {processes} processes", ">= 0.95", "users/s", pairs)


def waited(environment: dict[str, str]) -> Figure:
    """POST with `Prefer: wait` against one hash: milliseconds, so the ratio is above 1."""
    pairs = []
    with servers(environment), worker(environment, 1, lanes="hashing"), worker(environment, 1, lanes=_OTHER_LANES):
        _post_and_wait()
        for _ in range(REPEATS):
            both = [(_post_and_wait() * 1000, _one_hash() * 1000) for _ in range(8)]
            ours, bare = (statistics.median(side) for side in zip(*both, strict=True))
            pairs.append((ours, bare))
    extra = statistics.median(ours - bare for ours, bare in pairs)
    return Figure(f"POST user, waited for (+{extra:.0f} ms over the hash)", "hash + 15 ms", "ms", pairs)


def _users_per_second(environment: dict[str, str], processes: int) -> float:
    """From the times of the outcomes, without the first two of each process, while every process works."""
    count = 34 * processes
    with servers(environment):
        for _ in range(count):
            _post({})
    with (
        worker(environment, processes, lanes="hashing"),
        psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection,
    ):
        while True:
            times = connection.execute(
                "select finished_at from operations where name = 'users.create_user' order by 1"
            ).fetchall()
            if len(times) >= count:
                break
            time.sleep(1)
        connection.execute("truncate operations, users, outbox cascade")
    counted = [time for (time,) in times[2 * processes - 1 : 1 - processes or None]]
    return float((len(counted) - 1) / (counted[-1] - counted[0]).total_seconds())


def _one_hash() -> float:
    started = time.perf_counter()
    hash_times(1)
    return time.perf_counter() - started


def _post(headers: dict[str, str]) -> dict[str, object]:
    body = {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": "correct horse battery"}
    request = Request(
        f"http://127.0.0.1:{OURS}/api/v1/users",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    with urlopen(request, timeout=15) as response:
        answer: dict[str, object] = json.load(response)
    return answer


def _post_and_wait() -> float:
    started = time.perf_counter()
    _post({"Prefer": "wait=10"})
    return time.perf_counter() - started


def _sent(environment: dict[str, str], url: str) -> float:
    rate = wrk(url, new_users=True)
    _purge(environment)  # the lane is bounded, and nobody consumes it
    return rate


def _purge(environment: dict[str, str]) -> None:
    rabbitmqctl("purge_queue", "-p", environment["BROKER_URL"].rpartition("/")[2], "users.hashing.anonymous")


if __name__ == "__main__":
    sys.exit(main())
