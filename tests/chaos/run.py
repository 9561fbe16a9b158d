"""One fault, many commands, and the count of what became of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from itertools import count
from time import monotonic
from typing import Any
from urllib.error import URLError
from uuid import uuid4

import psycopg

from tests.chaos.faults import DUPLICATES, FAULTS, ONCE, OVERLOAD, SUSTAINED, clock_jumps, duplicating, nothing
from tests.chaos.subjects import Subject
from tests.chaos.world import World
from tests.flow.client import Answer, Client

_CLIENTS = 6
_CROWD = 64
"""Clients of the overload: twice what the API processes have threads for, and each repeats at once."""
_STRIKES = 3
"""How often a fault strikes while the commands come in."""
_EASY = 0.3
"""Seconds between the commands of a client under a fault that takes its time."""
_PATIENCE = 240.0
"""Seconds after which what is still pending counts as stuck."""
_SLOWEST = 3.5
"""Seconds an answer may take under overload: the publish deadline, and the slack of a busy machine."""
_LOOK_EVERY = 0.5
_GROWTH = 1.3
"""How much more memory than after the first quarter there may ever be under overload."""
HEADER = (
    "| fault | accepted | carried out | lost | doubled | stuck | failed | slowest (s) | latest (s) | memory "
    "| heal (s) |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


@dataclass(frozen=True)
class Result:
    """What became of the commands under one fault.

    Attributes:
        accepted: answered with 202.
        carried_out: accepted and in effect once.
        lost: accepted, finished or not, and without effect.
        doubled: in effect more than once.
        stuck: accepted, and still pending after all patience.
        failed: requests that an API process took and did not answer, or with what no client can wait out.
        slowest_seconds: the longest time to an answer.
        latest_seconds: the longest time from an acceptance to the outcome.
        growth: under overload, the most memory of API and workers as a multiple of what it was after the first quarter.
        heal_seconds: from the end of fault and load until the last operation was finished.
    """

    fault: str
    accepted: int
    carried_out: int
    lost: int
    doubled: int
    stuck: int
    failed: int
    slowest_seconds: float
    latest_seconds: float
    growth: float | None
    heal_seconds: float

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        answered = self.failed == 0 or self.fault in ("kill api", "cut api host off")
        flat = self.growth is None or (self.growth <= _GROWTH and self.slowest_seconds <= _SLOWEST)
        return self.lost == self.doubled == self.stuck == 0 and answered and flat

    def __str__(self) -> str:
        counts = (self.accepted, self.carried_out, self.lost, self.doubled, self.stuck, self.failed)
        growth = "" if self.growth is None else f"{self.growth:.2f}"
        measures = f"{self.slowest_seconds:.1f} | {self.latest_seconds:.1f} | {growth} | {self.heal_seconds:.1f}"
        return f"| {self.fault} | {' | '.join(map(str, counts))} | {measures} |"


class Load:
    """Commands that are repeated until they are accepted, as a client with an Idempotency-Key may, and what came back.

    Attributes:
        accepted: the answers, one per command.
        failed, slowest_seconds: as in `Result`.
    """

    def __init__(self, world: World, subject: Subject, refusals: Collection[int]) -> None:
        self._world = world
        self._subject = subject
        self._refusals = refusals
        self._counted = threading.Condition()
        self.accepted: list[Answer] = []
        self.failed = 0
        self.slowest_seconds = 0.0

    def send(self, number: int) -> None:
        """Have the command of that number accepted."""
        path, body, headers = self._subject.request(number)
        headers = {**headers, "Idempotency-Key": uuid4().hex}
        deadline = monotonic() + _PATIENCE
        turn = number
        while (answer := self._ask(self._world.client(turn), path, body, headers)) is None or answer.status != 202:
            assert monotonic() < deadline, f"never accepted: {answer}"
            turn += 1
            threading.Event().wait(0.2)  # what Retry-After asks for, in small
        with self._counted:
            self.accepted.append(answer)
            self._counted.notify_all()

    def await_accepted(self, number: int) -> None:
        """Wait until so many are."""
        with self._counted:
            while len(self.accepted) < number:
                assert self._counted.wait(_PATIENCE), "nothing is accepted any more"

    def _ask(self, client: Client, path: str, body: dict[str, Any], headers: dict[str, str]) -> Answer | None:
        started = monotonic()
        try:
            answer = client.post(path, body, **headers)
        except URLError:  # refused, or closed before the request was sent: a load balancer asks another one
            return None
        except (OSError, HTTPException):
            answer = None
        with self._counted:
            self.slowest_seconds = max(self.slowest_seconds, monotonic() - started)
            self.failed += answer is None or not (answer.status == 202 or self._may_be_repeated(answer))
        return answer

    def _may_be_repeated(self, answer: Answer) -> bool:
        return answer.status in self._refusals or (answer.status in (429, 503) and "Retry-After" in answer.headers)


def run(world: World, fault: str, subject: Subject, commands: int, seed: int) -> Result:
    """Send the commands while the fault strikes at random, but seeded, moments; then wait and count."""
    chance = random.Random(f"{seed} {fault}")
    strike = FAULTS.get(fault, nothing)
    subject.prepare(world)
    sustained = strike in SUSTAINED
    moments = sorted(chance.sample(range(commands // 10, commands * 9 // 10), 1 if strike in ONCE else _STRIKES))
    began = datetime.now(UTC)
    load = Load(world, subject, refusals=(401,) if strike is clock_jumps else ())
    clients = _CROWD if fault == OVERLOAD else _CLIENTS
    numbers = count()
    healed = threading.Event()

    def break_things() -> None:
        for moment in moments:
            load.await_accepted(moment)
            strike(world, chance)

    def send(_: int) -> None:
        while (number := next(numbers)) < commands or (sustained and not breaking.done()):
            load.send(number)
            threading.Event().wait(_EASY if sustained else 0)

    def watch_memory() -> float:
        load.await_accepted(commands // 4)
        first = most = world.memory()
        while not healed.wait(_LOOK_EVERY):
            most = max(most, world.memory())
        return most / first

    with ThreadPoolExecutor(clients + 2) as threads, duplicating(world) if fault == DUPLICATES else nullcontext():
        breaking = threads.submit(break_things)
        watching = threads.submit(watch_memory) if fault == OVERLOAD else None
        try:
            list(threads.map(send, range(clients)))
            breaking.result()
            over = monotonic()
            world.healed()
            stuck = _await_all(world, subject, load.accepted)
            heal_seconds = monotonic() - over
        finally:
            healed.set()
    with psycopg.connect(world.database_url) as database:
        effects = subject.effects(database)
        latest = _latest(database, began)
    return Result(
        fault=fault,
        accepted=len(load.accepted),
        carried_out=sum(1 for times in effects if times == 1),
        lost=len(load.accepted) - len(effects),
        doubled=sum(1 for times in effects if times > 1),
        stuck=stuck,
        failed=load.failed,
        slowest_seconds=load.slowest_seconds,
        latest_seconds=latest,
        growth=watching.result() if watching else None,
        heal_seconds=heal_seconds,
    )


def _latest(database: psycopg.Connection[Any], since: datetime) -> float:
    """The most seconds from an acceptance to its outcome."""
    longest = "select extract(epoch from max(finished_at - accepted_at)) from operations where accepted_at >= %s"
    found = database.execute(longest.encode(), (since,)).fetchone()
    return float(found[0] or 0) if found else 0.0


def _await_all(world: World, subject: Subject, accepted: list[Answer]) -> int:
    """Ask for each outcome until it is there; returns how many never are."""
    deadline = monotonic() + _PATIENCE
    _, _, headers = subject.request(0)
    pending = [answer.headers["Location"] for answer in accepted]
    while pending and monotonic() < deadline:
        pending = [location for location in pending if not _finished(world, location, headers)]
        if pending:
            threading.Event().wait(0.5)
    return len(pending)


def _finished(world: World, location: str, headers: dict[str, str]) -> bool:
    try:
        answer = world.client(0).get(location, **headers)
    except OSError:  # the API process is not there again yet
        return False
    return answer.status == 200 and answer.body["status"] != "pending"
