"""The program in the test's own process: API and worker side by side, on a queue without a broker.

A directory of tests overrides the fixture whose answer is another there: `contexts`, `settings`, `authenticate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from flask import Flask

from backend.kernel.context import AnyContext
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.http.caller import Authenticate
from backend.program import CONTEXTS, Process, Program
from backend.settings import Settings
from tests.inline import InlineQueue
from tests.settings import settings_with


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
def process(settings: Settings, contexts: Sequence[AnyContext], queue: InlineQueue) -> Iterator[Process]:
    process = queue.process = Program(settings, contexts).process(queue)
    yield process
    try:
        queue.drain()
    finally:
        queue.close()
        process.close()


@pytest.fixture
def bus(process: Process) -> Bus:
    return process.bus


@pytest.fixture
def app(process: Process, authenticate: Authenticate | None) -> Flask:
    app = process.web(authenticate)
    assert process.resources.listener.start(timeout=10)  # or else who waits may be answered 202
    return app
