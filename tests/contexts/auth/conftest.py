from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask
from uuid_utils.compat import uuid7

from backend.contexts.auth.domain.events import RefreshTokenReused, SignInCodeRequested, UnverifiedSignIn
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.contexts.auth.infrastructure.settings import AuthSettings
from backend.contexts.auth.infrastructure.tokens import AccessTokens
from backend.contexts.users.application.commands import CreateAdmin
from backend.contexts.users.domain.user import PersonName
from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.secret import Secret
from backend.program import CONTEXTS
from backend.settings import Settings
from tests.client import PASSWORD, Client
from tests.inline import InlineQueue
from tests.notes import context as notes


class Told:
    """What auth told the others, taken down by a context that subscribes to it."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def codes(self) -> list[str]:
        """Every code that was sent."""
        return [event.code.value for event in self.of(SignInCodeRequested)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Person:
    """Somebody with an account."""

    def __init__(self, account: dict[str, Any]) -> None:
        self.id = UUID(account["id"])
        self.email: str = account["email"]
        self.username: str = account["username"]


class Database:
    """A glance behind the API, and the clock's hand: tests do not wait for minutes."""

    def __init__(self, url: str) -> None:
        self._url = url

    def execute(self, statement: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self._url) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def add_sessions(self, number: int, *, used: str = "now()") -> None:
        """As many more like one there is, begun now."""
        columns = "user_id, generation, refresh_fingerprint, spent, ip, user_agent"
        self.execute(
            f"insert into sessions select gen_random_uuid(), {columns}, now(), {used}"  # noqa: S608 - our own names
            " from (select * from sessions limit 1) one, generate_series(1, %s)",
            number,
        )

    def fail_sessions(self, state: str) -> None:
        """From now on PostgreSQL refuses every new session with that error; with none if it is empty."""
        self.execute("drop trigger if exists failing on sessions")
        if state:
            error = f"begin raise exception 'failing' using errcode = '{state}'; end"
            self.execute(f"create or replace function failing() returns trigger language plpgsql as $${error}$$")
            self.execute("create trigger failing before insert on sessions for each row execute function failing()")

    def set_user(self, user_id: UUID, **columns: Any) -> None:
        """Change a user behind the API's back."""
        for name, value in columns.items():
            self.execute(f"update users set {name} = %s where id = %s", value, user_id)  # noqa: S608 - our own names


def ordered_by_an_admin(bus: Bus, queue: InlineQueue, command: Command) -> None:
    """A new administrator has it done; returns once it is."""
    admin_id = uuid7()
    bus.execute(CreateAdmin(admin_id, PersonName("Admin"), f"{admin_id}@example.com", Secret(PASSWORD)))
    token = current_origin.set(Origin(actor=admin_id))
    bus.dispatch(command, uuid7())
    current_origin.reset(token)
    queue.drain()


Open = Callable[..., Client]
Register = Callable[..., Person]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def contexts(told: Told) -> Sequence[AnyContext]:
    return (*CONTEXTS, notes, Context("scribe", _scribe(), lambda _resources, _unit: told))


def _scribe() -> Handlers[Told]:
    handlers = Handlers[Told]("scribe")

    @handlers.on(SignInCodeRequested)
    def take_down_code(event: SignInCodeRequested, told: Told) -> None:
        told.events.append(event)

    @handlers.on(RefreshTokenReused)
    def take_down_reuse(event: RefreshTokenReused, told: Told) -> None:
        told.events.append(event)

    @handlers.on(UnverifiedSignIn)
    def take_down_unverified(event: UnverifiedSignIn, told: Told) -> None:
        told.events.append(event)

    return handlers


@pytest.fixture
def client(app: Flask) -> Client:
    """Somebody anonymous."""
    return Client(app)


@pytest.fixture
def at(app: Flask) -> Callable[[str], Client]:
    """Somebody anonymous at that address."""
    return lambda ip: Client(app, address=ip)


def access_tokens(settings: Settings) -> AccessTokens:
    """What issues and reads access tokens under these settings."""
    own = settings.of(AuthSettings)
    return AccessTokens(settings.public_url, own.jwt_expire_minutes, SigningKeys(own))


@pytest.fixture
def database(settings: Settings) -> Database:
    return Database(settings.database_url)


@pytest.fixture
def register(client: Client) -> Register:
    numbers = count(1)

    def register(**fields: Any) -> Person:
        name = f"person{next(numbers)}"
        body = {"name": name.title(), "email": f"{name}@example.com", "username": name, "password": PASSWORD, **fields}
        answer = client.post("/users", body)
        assert answer.status_code == 201, answer.json
        return Person(answer.json)

    return register


@pytest.fixture
def ada(register: Register) -> Person:
    return register()
