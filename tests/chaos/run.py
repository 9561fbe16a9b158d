"""One fault, many commands, and the count of what became of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

import psycopg

from tests.chaos.faults import DUPLICATES, FAULTS, duplicating, nothing
from tests.chaos.subjects import Subject
from tests.chaos.world import World
from tests.flow.client import Answer, Client

_CLIENTS = 6
_STRIKES = 3
"""How often a fault strikes while the commands come in."""
_PATIENCE = 240.0
"""Seconds after which what is still pending counts as stuck."""
HEADER = "| fault | accepted | carried out | lost | doubled | stuck | heal (s) |\n|---|---:|---:|---:|---:|---:|---:|"


@dataclass(frozen=True)
class Result:
    """What became of the commands under one fault.

    Attributes:
        accepted: answered with 202.
        carried_out: accepted and in effect once.
        lost: accepted, finished or not, and without effect.
        doubled: in effect more than once.
        stuck: accepted, and still pending after all patience.
        heal_seconds: from the end of fault and load until the last operation was finished.
    """

    fault: str
    accepted: int
    carried_out: int
    lost: int
    doubled: int
    stuck: int
    heal_seconds: float

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.lost == self.doubled == self.stuck == 0

    def __str__(self) -> str:
        counts = f"{self.accepted} | {self.carried_out} | {self.lost} | {self.doubled} | {self.stuck}"
        return f"| {self.fault} | {counts} | {self.heal_seconds:.1f} |"


def run(world: World, fault: str, subject: Subject, commands: int, seed: int) -> Result:
    """Send the commands while the fault strikes at random, but seeded, moments; then wait and count."""
    chance = random.Random(f"{seed} {fault}")
    strike = FAULTS.get(fault, nothing)
    subject.prepare(world)
    moments = sorted(chance.sample(range(commands // 10, commands * 9 // 10), _STRIKES))
    accepted: list[Answer] = []
    counted = threading.Condition()

    def send(number: int) -> None:
        answer = _accepted(world, subject, number)
        with counted:
            accepted.append(answer)
            counted.notify_all()

    def break_things() -> None:
        for moment in moments:
            with counted:
                while len(accepted) < moment:
                    counted.wait()
            strike(world, chance)

    with duplicating(world) if fault == DUPLICATES else nullcontext():
        breaker = threading.Thread(target=break_things)
        breaker.start()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            list(clients.map(send, range(commands)))
        breaker.join()
        over = monotonic()
        world.healed()
        stuck = _await_all(world, subject, accepted)
        healed = monotonic() - over
    with psycopg.connect(world.postgres.url) as database:
        effects = subject.effects(database)
    done = sum(1 for times in effects if times == 1)
    doubled = sum(1 for times in effects if times > 1)
    return Result(fault, len(accepted), done, len(accepted) - len(effects), doubled, stuck, healed)


def _accepted(world: World, subject: Subject, number: int) -> Answer:
    """Repeat the request until it is accepted, as a client with an Idempotency-Key may."""
    path, body, headers = subject.request(number)
    headers = {**headers, "Idempotency-Key": uuid4().hex}
    deadline, turn = monotonic() + _PATIENCE, number
    while True:
        answer = _try(world.client(turn), lambda client: client.post(path, body, **headers))
        if answer is not None and answer.status == 202:
            return answer
        assert answer is None or answer.status == 503, answer.content
        assert monotonic() < deadline, "never accepted"
        turn += 1
        threading.Event().wait(0.2)  # what Retry-After asks for, in small


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
    answer = _try(world.client(0), lambda client: client.get(location, **headers))
    return answer is not None and answer.status == 200 and answer.body["status"] != "pending"


def _try(client: Client, ask: Callable[[Client], Answer]) -> Answer | None:
    try:
        return ask(client)
    except OSError:  # the API process was killed under the request
        return None
