"""What a trace knows of what waits, and of what somebody asked for without signing in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from flask import Flask

from backend.kernel.delivery.envelope import Taking
from backend.program import Process
from tests.client import Client
from tests.inline import InlineQueue, Postbox

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}


@pytest.fixture
def admin(app: Flask) -> Client:
    return Client(app, "admin", waits=False)


def test_what_an_address_asked_for_without_signing_in_is_found_by_it(
    admin: Client, app: Flask, queue: InlineQueue, flask: Callable[..., str], clean_database: str
) -> None:
    anybody = Client(app, waits=False)
    asked = {"email": "Nobody@Example.com"}
    assert anybody.post("/auth/forgot-password", asked, X_Request_ID="forgotten").status_code == 202
    assert (
        anybody.post("/auth/forgot-password", {"email": "other@example.com"}, X_Request_ID="other").status_code == 202
    )
    queue.drain()
    found = admin.post("/traces", asked).json
    assert found["request_ids"] == ["forgotten"]
    assert "succeeded" in [step["what"] for step in found["steps"]]
    assert "request forgotten" in flask("trace", "--address", "nobody@example.com")
    assert admin.post("/traces", {"email": "no address"}).status_code == 422
    with psycopg.connect(clean_database) as connection:
        assert "nobody@example" not in str(connection.execute("select operations::text from operations").fetchall())


class TestWaiting:
    """Nobody takes the messages."""

    @pytest.fixture
    def queue(self) -> Iterator[InlineQueue]:
        queue = Postbox()
        yield queue
        queue.close()

    def test_a_command_that_waits_in_the_broker_is_told_by_its_handle(
        self, admin: Client, flask: Callable[..., str]
    ) -> None:
        handle = admin.post("/users", ADA).json["id"]
        admin.post("/lanes/users.hashing.anonymous/pause", {"reason": "a test"})
        (step,) = admin.get(f"/traces/{handle}").json["steps"]
        assert step["what"] == "accepted"
        assert "lane users.hashing.anonymous" in step["detail"]
        assert "a test" in step["detail"]
        assert "cannot be known" in flask("trace", handle)

    def test_a_message_that_is_tried_again_is_told_with_its_next_try(
        self, admin: Client, process: Process, queue: InlineQueue
    ) -> None:
        handle = admin.post("/users", ADA).json["id"]
        process.receiver.note_retry(queue.sent[0], 3, "it was not its day", 40)
        (step,) = admin.get(f"/traces/{handle}").json["steps"]
        assert step["what"] == "waits"
        assert "it was not its day · tried 3x · next try about" in step["detail"]
        assert admin.post("/traces", {"email": ADA["email"]}).json["steps"] == [step]
        process.receiver.receive(replace(queue.sent[0], taken=Taking(datetime.now(UTC), "inline", 3)))
        steps = admin.get(f"/traces/{handle}").json["steps"]
        assert "waits" not in [one["what"] for one in steps]
