"""The figures of the auth context."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

from bench.measuring import BARE, OURS, Figure, hashes_per_second, in_turn, program, servers, worker, wrk

PASSWORD = "correct horse battery"  # noqa: S105 - of people who do not exist
_ADMIN = "admin@example.com"
_PEOPLE = 8
_LOGINS = 96
_READS = 1000
API = f"http://127.0.0.1:{OURS}/api/v1"


@dataclass(frozen=True)
class SignedIn:
    """A user with an access token."""

    user_id: str
    email: str
    token: str


def validate_token(environment: dict[str, str]) -> Figure:
    """POST validate-token against a bare Flask handler that decodes the same JWT."""
    with servers(environment):
        body = json.dumps({"access_token": somebody(environment).token})
        ours, bare = f"{API}/auth/validate-token", f"http://127.0.0.1:{BARE}/validate"
        pairs = in_turn(lambda: wrk(ours, body=body), lambda: wrk(bare, body=body))
    return Figure("validate-token", ">= 0.85", "requests/s", pairs)


def login(environment: dict[str, str]) -> Figure:
    """Sign-ins per second, several at once, against the bcrypt checks of the same cores."""
    with servers(environment):
        people = [somebody(environment) for _ in range(_PEOPLE)]
        pairs = in_turn(lambda: _logins_per_second(people), lambda: hashes_per_second(2))
    return Figure("login", ">= 0.95", "logins/s", pairs)


def reads_in_a_storm(environment: dict[str, str]) -> Figure:
    """The 99th percentile of GET user during many sign-ins, against idle."""
    with servers(environment):
        reader, *people = [somebody(environment) for _ in range(1 + _PEOPLE)]  # a 51st sign-in ends the first session
        pairs = in_turn(lambda: _while_storming(people, lambda: _p99(reader)), lambda: _p99(reader))
    return Figure("p99 of GET user during many sign-ins", "<= 5", "ms", pairs)


def somebody(environment: dict[str, str]) -> SignedIn:
    """A new user, signed in."""
    email = f"{uuid4().hex}@example.com"
    body = {"name": "Ada", "email": email, "password": PASSWORD}
    with worker(environment, 1):
        created = _post("/users", body, {"Prefer": "wait=10"})
    tokens = _post("/auth/login", {"email": email, "password": PASSWORD}, {})
    return SignedIn(str(created["id"]), email, str(tokens["access_token"]))


def administrator(environment: dict[str, str]) -> str:
    """The access token of the administrator, who is created if there is none. The server must run."""
    flask = [program("flask"), "--app", "wsgi", "users", "create-admin", "--email", _ADMIN, "--name", "Admin"]
    subprocess.run(flask, env={**environment, "ADMIN_PASSWORD": PASSWORD}, check=False, capture_output=True)
    return str(_post("/auth/login", {"email": _ADMIN, "password": PASSWORD}, {})["access_token"])


def _logins_per_second(people: list[SignedIn]) -> float:
    def one(number: int) -> None:
        _post("/auth/login", {"email": people[number % len(people)].email, "password": PASSWORD}, {})

    with ThreadPoolExecutor(4) as clients:
        started = time.perf_counter()
        list(clients.map(one, range(_LOGINS)))
        return _LOGINS / (time.perf_counter() - started)


def _while_storming(people: list[SignedIn], measure: Callable[[], float]) -> float:
    """The storm comes from another process: its threads would hold up those that measure."""
    context = get_context("spawn")
    begun = context.Event()
    storm = context.Process(target=_storm, args=(people, begun))
    storm.start()
    begun.wait()
    try:
        return measure()
    finally:
        storm.terminate()
        storm.join()


def _storm(people: list[SignedIn], begun: Event) -> None:
    """Until the process is ended."""

    def sign_in_again(person: SignedIn) -> None:
        while True:
            begun.set()
            with suppress(HTTPError):  # those beyond the limit get 503
                _post("/auth/login", {"email": person.email, "password": PASSWORD}, {})

    with ThreadPoolExecutor(len(people)) as clients:
        list(clients.map(sign_in_again, people))


def _p99(person: SignedIn) -> float:
    """Milliseconds."""
    times = []
    for _ in range(_READS):
        request = Request(f"{API}/users/{person.user_id}", headers={"Authorization": f"Bearer {person.token}"})
        started = time.perf_counter()
        with urlopen(request, timeout=15) as response:
            response.read()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(times, n=100)[98]


def _post(path: str, body: dict[str, str], headers: dict[str, str]) -> dict[str, object]:
    request = Request(API + path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with urlopen(request, timeout=30) as response:
        answer: dict[str, object] = json.load(response)
    return answer
