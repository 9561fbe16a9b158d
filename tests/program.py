"""The program in the test's own process: API and worker side by side, on a queue without a broker.

A directory of tests overrides the fixture whose answer is another there: `contexts`, `settings`, `authenticate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.http.caller import Authenticate
from backend.kernel.messages.authority import ADMIN, Account
from backend.kernel.messages.registry import Handlers
from backend.kernel.postgres.database import ReadConnection
from backend.program import CONTEXTS, Process, Program
from backend.settings import Settings
from tests.inline import InlineQueue
from tests.settings import settings_with


def account_of(connection: ReadConnection, user_id: UUID) -> Account | None:
    """Somebody whom only the token of a test knows administers; whoever has an account is what the account says."""
    known = connection.execute("select is_active, roles from users where id = %s", [user_id]).fetchone()
    if known is None:
        return Account(user_id, frozenset({ADMIN}))
    is_active, roles = known
    return Account(user_id, frozenset(roles)) if is_active else None


_WHAT_TOKENS_SAY: AnyContext = Context(
    "tokens", Handlers[None]("tokens"), lambda _resources, _unit: None, account_of=account_of
)
"""In place of accounts, where a test puts something in place of tokens and sessions."""


def pytest_enter_pdb() -> None:
    InlineQueue.debugged = True


@pytest.fixture
def settings(clean_database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """With `@pytest.mark.parametrize("settings", [{...}], indirect=True)` some are others."""
    changes = getattr(request, "param", {})
    return settings_with(database_url=clean_database, mail_url=f"file:{tmp_path}/mail", **changes)


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    """What the program consists of."""
    return CONTEXTS


@pytest.fixture
def authenticate() -> Authenticate | None:
    """What takes the place of access tokens and sessions, if anything."""
    return None


@pytest.fixture
def queue() -> Iterator[InlineQueue]:
    queue = InlineQueue()
    yield queue
    queue.close()


@pytest.fixture
def process(
    settings: Settings, contexts: Sequence[AnyContext], queue: InlineQueue, authenticate: Authenticate | None
) -> Iterator[Process]:
    believed = () if authenticate is None else (_WHAT_TOKENS_SAY,)
    process = queue.process = Program(settings, (*believed, *contexts)).process(queue)
    yield process
    try:
        queue.drain()
    finally:
        queue.close()
        process.close()


@contextmanager
def another_process(settings: Settings) -> Iterator[Flask]:
    """Another API process: nothing in common with the first but the database."""
    queue = InlineQueue()
    process = queue.process = Program(settings).process(queue)
    app = process.web()
    assert process.resources.listener.start(timeout=10)
    yield app
    queue.close()
    process.close()


@pytest.fixture
def bus(process: Process) -> Bus:
    return process.bus


@pytest.fixture
def app(process: Process, authenticate: Authenticate | None) -> Flask:
    app = process.web(authenticate)
    app.testing = True  # a fault reaches the test, instead of an answer 500
    assert process.resources.listener.start(timeout=10)  # or else who waits may be answered 202
    return app
