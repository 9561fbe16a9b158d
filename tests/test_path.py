"""A reader follows a command from its route to its row without coming back again and again."""

from __future__ import annotations

import os
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.kernel.delivery.envelope import Envelope
from backend.program import Process, Program
from backend.settings import Settings
from tests.inline import InlineQueue
from tests.path import CommandPath, counted


class Lane(InlineQueue):
    """Keeps what is sent: the test itself is the worker."""

    path: CommandPath | None = None

    def send(self, envelope: Envelope, deadline: float) -> None:
        self.sent.append(envelope)
        if self.path is not None:
            self.path.paused = True


def test_creating_a_user_is_a_short_way(settings: Settings) -> None:
    queue = Lane()
    process = Program(settings).process(queue)
    client = process.web().test_client()
    _create(client, process, queue, "before@example.com")  # what is built at the first request is no part of the path

    with counted("UserCollection.post", "SqlLinks.issue") as path:
        queue.path = path
        _create(client, process, queue, "ada@example.com")
    process.close()

    if os.environ.get("SHOW_PATH"):
        pytest.fail(str(path))
    assert len(path.functions) <= 60
    assert len(set(path.files)) <= 20
    assert path.most_entered <= 2


def _create(client: FlaskClient, process: Process, queue: Lane, email: str) -> Any:
    answer = client.post("/api/v1/users", json={"name": "Ada", "email": email, "password": "correct horse battery"})
    assert answer.status_code == 202
    (message,) = [envelope for envelope in queue.sent if envelope.name == "users.create_user"]
    queue.sent.clear()
    if queue.path is not None:
        queue.path.paused = False
    process.receiver.receive(message)
    process.relay.wait()
    queue.sent.clear()
