"""The program under attack, and somebody who uses it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid4

import psycopg
from kombu import Connection, Producer
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import CreateUser
from backend.contexts.users.domain.user import PersonName
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.messages.secret import Secret
from tasks.app import ProgramApp
from tests.chaos.world import World, is_ready
from tests.flow.client import Client
from tests.worker import eventually

PASSWORD = "correct horse battery"
AT_ONCE = 20
_NOW = "2026-01-01T00:00:00+00:00"
T = TypeVar("T")


class Result(NamedTuple):
    """What came of an attack: how much was sent, and how much got through."""

    sent: int
    through: int


@dataclass
class Neighbour:
    """Somebody signed in, who reads their profile over and over.

    Attributes:
        slowest: seconds of the slowest answer.
        refused: answers other than 200.
    """

    client: Client
    headers: dict[str, str]
    slowest: float = 0
    refused: list[int] = field(default_factory=list)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Ask all the time while inside."""
        over = threading.Event()
        asking = threading.Thread(target=self._ask, args=(over,))
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join()

    def _ask(self, over: threading.Event) -> None:
        while not over.wait(0.05):
            begun = monotonic()
            status = self.client.get("/api/v1/users/me", **self.headers).status
            self.slowest = max(self.slowest, monotonic() - begun)
            if status != 200:
                self.refused.append(status)


class Person(NamedTuple):
    """An account, and the headers of its requests."""

    id: str
    email: str
    headers: dict[str, str]


@dataclass
class Battlefield:
    """What an attack may use. The API trusts one proxy, so each request may come from another address.

    Attributes:
        ours: the program's own Celery application, for genuine messages.
    """

    world: World
    client: Client
    admin: dict[str, str]
    ours: ProgramApp
    _addresses: Iterator[int] = field(default_factory=count)

    def address(self) -> dict[str, str]:
        """The headers of requests from an address that nobody had before."""
        number = next(self._addresses)
        return {"X_Forwarded_For": f"198.18.{number // 250}.{number % 250 + 1}"}

    def rows(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.world.postgres.url, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def number(self, statement: str, *values: Any) -> int:
        return int(self.rows(statement, *values)[0][0])

    def person(self) -> Person:
        """A new account, signed in."""
        body, address = somebody(), self.address()
        created = self.client.post("/api/v1/users", body, Prefer="wait=10", **address)
        tokens = self.sign_in(body["email"], **address).body
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return Person(created.body["id"], body["email"], headers)

    def sign_in(self, email: str, password: str = PASSWORD, **headers: str) -> Any:
        return self.client.post("/api/v1/auth/login", {"email": email, "password": password}, **headers)

    @contextmanager
    def other_settings(self, **settings: str) -> Iterator[Client]:
        """The workers and one API process with other settings; whoever is busy meanwhile asks the other one."""
        api = self.world.apis[1]
        before = {name: api.environment[name] for name in settings}
        self._restart(settings)
        try:
            yield api.client
        finally:
            self._restart(before)

    def _restart(self, settings: Mapping[str, str]) -> None:
        api, workers = self.world.apis[1], self.world.workers
        marks = [worker.mark() for worker in workers]
        for program in (api, *workers):
            program.environment.update(settings)
            self.world.restart(program)
        eventually(partial(is_ready, api.client))
        for worker, mark in zip(workers, marks, strict=True):
            eventually(partial(worker.has_said, f"{worker.node} ready.", mark))

    def genuine(self, user_id: UUID | None = None) -> Envelope:
        """A registration that our API signed."""
        user_id = user_id or uuid7()
        command = CreateUser(user_id, PersonName("Ada"), f"{user_id}@example.com", Secret(PASSWORD))
        return self.ours.process().resources.codec.of_command(command, user_id)

    def copy(self, message: Envelope, body: dict[str, Any] | None = None, **foreign: Any) -> None:
        """Publish a recorded message, with another body or further headers."""
        headers = {"task": message.name, "id": str(message.id), "envelope": message.headers.as_json(), **foreign}
        self.publish(message.lane, dict(message.body) if body is None else body, headers)

    def forge(self, task: str, lane: str, body: dict[str, Any], **envelope: Any) -> str:
        """Publish a message of our own invention; returns its id."""
        task_id = str(uuid7())
        self.publish(lane, body, {"task": task, "id": task_id, "envelope": {"accepted_at": _NOW, **envelope}})
        return task_id

    def publish(self, lane: str, body: dict[str, Any], headers: dict[str, Any]) -> None:
        """As any AMQP client can."""
        with Connection(self.world.broker_url, transport_options={"confirm_publish": True}) as connection:
            Producer(connection.default_channel, auto_declare=False).publish(
                [[], body, {}], lane, exchange="commands", serializer="json", headers={"lang": "py", **headers}
            )

    @contextmanager
    def buried(self, number: int) -> Iterator[None]:
        """Leave the block once so many dead letters more are recorded."""
        before = self.number("select count(*) from dead_letters")
        yield
        eventually(lambda: self.number("select count(*) from dead_letters") >= before + number)


def somebody() -> dict[str, str]:
    return {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": PASSWORD}


def days_ago(days: int) -> str:
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() - days * 86400, UTC).isoformat()


def at_once(number: int, ask: Callable[[int], T]) -> list[T]:
    """So many requests, `AT_ONCE` of them at a time."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(ask, range(number)))
