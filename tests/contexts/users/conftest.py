from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Protocol, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from backend.contexts.users.domain.events import UserMail
from backend.kernel.context import AnyContext, Context
from backend.kernel.http.caller import Authenticate, Caller, InvalidToken
from backend.kernel.messages.event import snake_case
from backend.kernel.messages.registry import Handlers
from backend.program import CONTEXTS
from tests.inline import InlineQueue

PASSWORD = "correct horse battery"


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
        return Caller(UUID(user_id), UUID(int=1), (role,) if role else ())
    except ValueError:
        raise InvalidToken from None


class Answer(Protocol):
    """A response; `json` is whatever it is."""

    status_code: int
    headers: Headers
    data: bytes
    json: Any


class Browser:
    """The API as somebody sees it. Commands are waited for, unless `Prefer` says otherwise."""

    def __init__(self, client: FlaskClient, token: str | None = None) -> None:
        self._client = client
        self._token = token

    def get(self, path: str, **headers: str) -> Answer:
        return self._send("GET", path, None, headers)

    def post(self, path: str, json: Any = None, **headers: str) -> Answer:
        return self._send("POST", path, json, {"Prefer": "wait=10", **headers})

    def put(self, path: str, json: Any = None, **headers: str) -> Answer:
        return self._send("PUT", path, json, {"Prefer": "wait=10", **headers})

    def patch(self, path: str, json: Any = None, **headers: str) -> Answer:
        return self._send("PATCH", path, json, {"Prefer": "wait=10", **headers})

    def delete(self, path: str, **headers: str) -> Answer:
        return self._send("DELETE", path, None, {"Prefer": "wait=10", **headers})

    def _send(self, method: str, path: str, json: Any, headers: dict[str, str]) -> Answer:
        url = path if path.startswith("/api/") else f"/api/v1{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token:
            named["Authorization"] = f"Bearer {self._token}"
        return cast("Answer", self._client.open(url, method=method, json=json, headers=named))


class Person(Browser):
    """Somebody with an account, as the API showed it when it was made."""

    def __init__(self, client: FlaskClient, account: dict[str, Any], role: str = "") -> None:
        super().__init__(client, f"{account['id']}:{role}" if role else account["id"])
        self.account = account
        self.id: str = account["id"]
        self.email: str = account["email"]
        self.path = f"/users/{self.id}"


Register = Callable[..., Person]


@pytest.fixture
def visitor(app: Flask) -> Browser:
    """Somebody anonymous."""
    return Browser(app.test_client())


@pytest.fixture
def admin(app: Flask) -> Browser:
    """Somebody whose token says that they administer; they have no account."""
    return Browser(app.test_client(), f"{uuid4()}:admin")


@pytest.fixture
def register(app: Flask, visitor: Browser) -> Register:
    """Make an account; `role` is what the token will say, not what the account has."""
    numbers = count(1)

    def registered(role: str = "", **fields: Any) -> Person:
        body = {"name": "Ada", "email": f"user{next(numbers)}@example.com", "password": PASSWORD, **fields}
        answer = visitor.post("/users", body)
        assert answer.status_code == 201, answer.json
        return Person(app.test_client(), answer.json, role)

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
