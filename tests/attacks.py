"""`make attacks`: what hostile neighbours try, on the whole program, and what they get.

A line for each attack: how much was sent, how much got through (it must be 0), and the slowest answer that somebody
signed in waited for meanwhile. Everything goes to this machine, in bounded numbers.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import uuid4

import psycopg
import structlog
from kombu import Connection, Producer
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import CreateUser
from backend.contexts.users.domain.user import PersonName
from backend.kernel.messages.secret import Secret
from backend.program import Program
from tasks.app import ProgramApp, make_app
from tests.chaos.world import World
from tests.flow.client import Client
from tests.flow.programs import administrator
from tests.settings import settings_with
from tests.worker import SECRET_KEY, eventually

PER_ADDRESS = 20
_PASSWORD = "correct horse battery"


@dataclass
class Neighbour:
    """Somebody signed in, who reads their profile and changes it over and over.

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


@dataclass
class Battlefield:
    """What an attack may use.

    Attributes:
        ours: the program's own Celery application, for genuine messages.
        registered: how many accounts were registered from here so far.
    """

    world: World
    client: Client
    admin: dict[str, str]
    ours: ProgramApp
    registered: int = 0

    def rows(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.world.postgres.url, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def person(self) -> str:
        """A new account; its id."""
        self.registered += 1
        created = self.client.post("/api/v1/users", _somebody(), Prefer="wait=10")
        return str(created.body["id"])

    def publish(self, task: str, body: dict[str, Any], lane: str, headers: dict[str, Any]) -> None:
        """As any AMQP client can."""
        with Connection(self.world.broker_url) as connection:
            Producer(connection.default_channel, auto_declare=False).publish(
                [[], body, {}], lane, exchange="commands", serializer="json", headers={"lang": "py", **headers}
            )

    def recorded(self, number: int) -> None:
        """Return once so many dead letters are recorded."""
        eventually(lambda: self.rows("select count(*) from dead_letters")[0][0] >= number)


def forged_orders(field: Battlefield) -> tuple[int, int]:
    """An administrator's order, from somebody who only knows the administrator's id."""
    victim, admin_id = field.person(), field.client.get("/api/v1/users/me", **field.admin).body["id"]
    envelope = {"actor": admin_id, "accepted_at": "2026-01-01T00:00:00+00:00"}
    before = field.rows("select count(*) from dead_letters")[0][0]
    for _ in range(20):
        headers = {"task": "users.set_roles", "id": str(uuid7()), "envelope": envelope}
        field.publish("users.set_roles", {"user_id": victim, "roles": ["admin"]}, "users.commands", headers)
    field.recorded(before + 20)
    return 20, len(field.rows("select id from users where id = %s and 'admin' = any(roles)", victim))


def altered_copies(field: Battlefield) -> tuple[int, int]:
    """A genuine message with another address in it."""
    before = field.rows("select count(*) from dead_letters")[0][0]
    for number in range(20):
        user_id = uuid7()
        command = CreateUser(user_id, PersonName("Ada"), f"{user_id}@example.com", Secret(_PASSWORD))
        message = field.ours.process().resources.codec.of_command(command, user_id)
        headers = {"task": message.name, "id": str(message.id), "envelope": message.headers.as_json()}
        body = {**message.body, "email": f"mallory{number}@example.com"}
        field.publish(message.name, body, message.lane, headers)
    field.recorded(before + 20)
    return 20, field.rows("select count(*) from users where email like 'mallory%%'")[0][0]


def revoked_commands(field: Battlefield) -> tuple[int, int]:
    """Orders of remote control to forget commands before they arrive."""
    ids = [uuid7() for _ in range(20)]
    for operation_id in ids:
        field.ours.control.revoke(str(operation_id))
    for operation_id in ids:
        command = CreateUser(operation_id, PersonName("Ada"), f"{operation_id}@example.com", Secret(_PASSWORD))
        field.ours.process().bus.dispatch(command, operation_id)
    eventually(lambda: field.rows("select count(*) from operations where id = any(%s)", ids)[0][0] == 20)
    return 20, 20 - field.rows("select count(*) from users where id = any(%s)", ids)[0][0]


def registrations(field: Battlefield) -> tuple[int, int]:
    """Five hundred registrations from one address at once."""
    before = field.rows("select count(*) from users")[0][0]
    statuses = _at_once(500, lambda _: field.client.post("/api/v1/users", _somebody()).status)
    accepted = statuses.count(202)
    eventually(lambda: field.rows("select count(*) from users")[0][0] >= before + accepted)
    return 500, max(0, accepted - PER_ADDRESS + field.registered)


def guesses(field: Battlefield) -> tuple[int, int]:
    """Two hundred wrong passwords for one account, twenty at a time."""
    email = field.rows("select email from users order by created_at limit 1")[0][0]
    statuses = _at_once(
        200,
        lambda number: field.client.post("/api/v1/auth/login", {"email": email, "password": f"wrong {number}"}).status,
    )
    return 200, max(0, statuses.count(401) - 5) + statuses.count(200)


def links(field: Battlefield) -> tuple[int, int]:
    """A hundred and ten parallel uses of a link that is none."""
    body = {"token": "AAAA.BBBB", "new_password": "another horse battery"}
    statuses = _at_once(110, lambda _: field.client.post("/api/v1/auth/reset-password", body).status)
    return 110, len(statuses) - statuses.count(422)


def mails(field: Battlefield) -> tuple[int, int]:
    """Thirty requests for a link to one address."""
    email = field.rows("select email from users order by created_at limit 1")[0][0]
    _at_once(30, lambda _: field.client.post("/api/v1/auth/forgot-password", {"email": email}).status)
    eventually(lambda: field.rows("select count(*) from outbox")[0][0] == 0)
    sent = sum(email in path.read_text() for path in field.world.mail.glob("*.eml"))
    return 30, max(0, sent - 10)


ATTACKS: list[Callable[[Battlefield], tuple[int, int]]] = [
    forged_orders,
    altered_copies,
    revoked_commands,
    links,
    mails,
    guesses,
    registrations,
]


def main() -> int:
    """Print the table; 1 if something got through."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"{'attack':<20} {'sent':>5} {'got through':>12} {'slowest answer of others':>26}", flush=True)
    through = 0
    with World(REGISTRATIONS_PER_ADDRESS=str(PER_ADDRESS)) as world:
        settings = settings_with(
            broker_url=world.broker_url, database_url=world.postgres.url, secret_keys=(SECRET_KEY,)
        )
        client = world.apis[0].client
        field = Battlefield(world, client, administrator(client, world.environment), make_app(Program(settings)))
        for attack in ATTACKS:
            neighbour = Neighbour(field.client, field.admin)
            with neighbour.busy():
                sent, got = attack(field)
            through += got + len(neighbour.refused)
            slowest = f"{neighbour.slowest:.2f} s" + (
                f", {len(neighbour.refused)} refused" if neighbour.refused else ""
            )
            print(f"{attack.__name__.replace('_', ' '):<20} {sent:>5} {got:>12} {slowest:>26}", flush=True)
        field.ours.close_process()
    return 1 if through else 0


def _somebody() -> dict[str, str]:
    return {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": _PASSWORD}


def _at_once(number: int, ask: Callable[[int], int]) -> list[int]:
    with ThreadPoolExecutor(20) as threads:
        return list(threads.map(ask, range(number)))


if __name__ == "__main__":
    sys.exit(main())
