from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from time import time
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask

from backend.contexts.users.domain.events import UserMail
from backend.kernel.context import AnyContext, Context
from backend.kernel.http.caller import Authenticate, Caller, InvalidToken
from backend.kernel.messages.event import snake_case
from backend.kernel.messages.registry import Handlers
from backend.program import CONTEXTS
from tests.client import PASSWORD, Client
from tests.inline import InlineQueue


@pytest.fixture
def contexts(mailbox: Mailbox) -> Sequence[AnyContext]:
    return (*CONTEXTS, mailbox.context)


@pytest.fixture
def authenticate() -> Authenticate:
    return _authenticate


def _authenticate(token: str) -> Caller:
    """`<user id>` or `<user id>:admin`: how tokens are made is another context's matter."""
    user_id, _, role = token.partition(":")
    try:
        return Caller(UUID(user_id), UUID(int=1), (role,) if role else (), authenticated_at=int(time()))
    except ValueError:
        raise InvalidToken from None


class Person(Client):
    """Somebody with an account, as the API showed it when it was made."""

    def __init__(self, app: Flask, account: dict[str, Any], role: str = "") -> None:
        super().__init__(app, f"{account['id']}:{role}" if role else account["id"])
        self.account = account
        self.id: str = account["id"]
        self.email: str = account["email"]
        self.path = f"/users/{self.id}"


Register = Callable[..., Person]


@pytest.fixture
def visitor(app: Flask) -> Client:
    """Somebody anonymous."""
    return Client(app)


@pytest.fixture
def admin(app: Flask) -> Client:
    """Somebody whose token says that they administer; they have no account."""
    return Client(app, f"{uuid4()}:admin")


@pytest.fixture
def register(app: Flask, visitor: Client) -> Register:
    """Make an account; `role` is what the token will say, not what the account has."""
    numbers = count(1)

    def registered(role: str = "", **fields: Any) -> Person:
        body = {"name": "Ada", "email": f"user{next(numbers)}@example.com", "password": PASSWORD, **fields}
        answer = visitor.post("/users", body)
        assert answer.status_code == 201, answer.json
        return Person(app, answer.json, role)

    return registered


@pytest.fixture
def ada(register: Register) -> Person:
    return register(email="ada@example.com", username="Ada")


class Mailbox:
    """What a context that writes mails gets to know: a subscriber with the same outbox, queue and seals."""

    def __init__(self, queue: InlineQueue) -> None:
        self._queue = queue
        self._events: list[UserMail] = []
        handlers = Handlers[list[UserMail]]("mailbox")
        for kind in UserMail.__subclasses__():
            handlers.on(kind)(_keeping(kind))
        self.context = Context("mailbox", handlers, lambda _resources, _unit: self._events)

    def sent(self, kind: type[UserMail], email: str) -> list[Any]:
        """The mails of a kind to an address, oldest first."""
        self._queue.drain()
        return [event for event in self._events if isinstance(event, kind) and event.email == email]

    def token(self, kind: type[UserMail], email: str) -> str:
        """The token of the newest."""
        return str(self.sent(kind, email)[-1].token.value)


def _keeping(kind: type[UserMail]) -> Callable[[UserMail, list[UserMail]], None]:
    def keep(event: UserMail, kept: list[UserMail]) -> None:
        kept.append(event)

    keep.__name__ = snake_case(kind.__name__)
    return keep


@pytest.fixture
def mailbox(queue: InlineQueue) -> Mailbox:
    return Mailbox(queue)


@pytest.fixture
def sql(clean_database: str) -> Iterator[Callable[..., Any]]:
    """Run a statement; for what no caller can bring about, such as time."""
    with psycopg.connect(clean_database, autocommit=True) as connection:
        yield lambda statement, *values: connection.execute(statement.encode(), values)
