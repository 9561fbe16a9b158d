"""What operators do about dead letters, over HTTP and with `flask`, and the trace of a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, cast
from uuid import UUID

import pytest
from backend.kernel.delivery.bus import Bus
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from backend.kernel.delivery.dead_letters import FAULT
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.http.caller import Caller, InvalidToken
from backend.kernel.http.web import create_app
from backend.program import build_bus
from tests.inline import InlineQueue
from tests.settings import settings_with

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
CALLERS = {"admin": Caller(UUID(int=3), UUID(int=13), ("admin",)), "ada": Caller(UUID(int=1), UUID(int=11), ())}
LETTERS = "/api/v1/dead-letters"


def authenticate(token: str) -> Caller:
    if token not in CALLERS:
        raise InvalidToken
    return CALLERS[token]


class GivesUp:
    """A worker whose tries are all spent."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def receive(self, envelope: Envelope) -> None:
        self._bus.give_up(envelope, FAULT, KeyError("a value"))

    def relayed(self) -> None:
        self._bus.relayed()


@pytest.fixture
def queue() -> Iterator[InlineQueue]:
    queue = InlineQueue()
    yield queue
    queue.close()


@pytest.fixture
def bus(clean_database: str, queue: InlineQueue) -> Iterator[Bus]:
    bus = build_bus(settings_with(database_url=clean_database), queue)
    queue.bus = bus
    yield bus
    queue.drain()
    bus.close()


@pytest.fixture
def app(clean_database: str, bus: Bus) -> Iterator[Flask]:
    app = create_app(settings_with(database_url=clean_database), bus, authenticate)
    yield app
    app.extensions["api"].listener.stop()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


Ask = Callable[..., TestResponse]


@pytest.fixture
def admin(client: FlaskClient) -> Ask:
    def ask(path: str = "", body: Any = None, method: str = "GET") -> TestResponse:
        return client.open(LETTERS + path, method=method, json=body, headers={"Authorization": "Bearer admin"})

    return ask


@pytest.fixture
def flask(app: Flask) -> Callable[..., str]:
    """Run `flask …`; its output."""

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = app.test_cli_runner().invoke(args=list(arguments))
        assert result.exit_code == exit_code, result.output
        return str(result.output)

    return run


@pytest.fixture
def failed(client: FlaskClient, bus: Bus, queue: InlineQueue) -> Callable[..., str]:
    """Send a registration that its worker gives up; where to read its operation."""

    def send(email: str = "ada@example.com") -> str:
        queue.bus = cast("Bus", GivesUp(bus))
        accepted = client.post("/api/v1/users", json={**ADA, "email": email}, headers={"X-Request-ID": "dead.1"})
        queue.drain()
        queue.bus = bus
        return accepted.headers["Location"]

    return send


def only(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.json
    (item,) = cast("dict[str, Any]", answer.json)["items"]
    return cast("dict[str, Any]", item)


def deliver_replays(bus: Bus, queue: InlineQueue) -> None:
    bus.database.read(lambda primary: primary.execute("update outbox set created_at = created_at - interval '1 hour'"))
    bus.relay_leftovers()
    queue.drain()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/groups"),
        ("POST", "/replay"),
        ("GET", f"/{UUID(int=5)}"),
        ("POST", f"/{UUID(int=5)}/replay"),
        ("POST", f"/{UUID(int=5)}/discard"),
    ],
)
def test_dead_letters_are_for_administrators_only(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(LETTERS + path, method=method).status_code == 401
    assert client.open(LETTERS + path, method=method, headers={"Authorization": "Bearer ada"}).status_code == 403


def test_a_dead_letter_is_listed_and_shown_without_secrets(failed: Callable[..., str], admin: Ask) -> None:
    failed()
    listed = only(admin("?task=users.create_user&status=open&reason=fault&error=KeyError&request_id=dead.1"))
    answer = admin(f"/{listed['id']}")
    shown = cast("dict[str, Any]", answer.json)
    assert (shown["reason"], shown["error"], shown["times"], shown["operation"]) == ("fault", "KeyError", 1, "failed")
    assert (shown["body"]["email"], shown["body"]["password"]) == ("ada@example.com", "•••")
    assert listed == {name: shown[name] for name in listed}
    for text in (ADA["password"], "sealed:", "a value"):
        assert text not in answer.text


def test_listings_are_paged_and_filters_that_match_nothing_list_nothing(failed: Callable[..., str], admin: Ask) -> None:
    for name in ("a", "b", "c"):
        failed(f"{name}@example.com")
    first = cast("dict[str, Any]", admin("?limit=2").json)
    rest = cast("dict[str, Any]", admin(f"?limit=2&cursor={first['next_cursor']}").json)
    assert len({item["id"] for item in first["items"] + rest["items"]}) == 3
    assert rest["next_cursor"] is None
    for nothing in ("task=x", "status=replayed", "reason=malformed", "error=x", "request_id=x"):
        assert cast("dict[str, Any]", admin(f"?{nothing}").json)["items"] == []
    assert admin("?status=unheard-of").status_code == 422


def test_groups_count_what_failed_alike(failed: Callable[..., str], admin: Ask) -> None:
    failed()
    failed("b@example.com")
    group = only(admin("/groups?status=open"))
    assert (group["task"], group["reason"], group["error"], group["number"]) == (
        "users.create_user",
        "fault",
        "KeyError",
        2,
    )


def test_a_replay_is_the_one_way_from_failed_to_succeeded(
    failed: Callable[..., str], admin: Ask, client: FlaskClient, bus: Bus, queue: InlineQueue
) -> None:
    operation = failed()
    before = cast("dict[str, Any]", client.get(operation).json)
    assert (before["status"], before["error"]["code"]) == ("failed", "internal_error")
    letter = only(admin())
    assert cast("dict[str, Any]", admin(f"/{letter['id']}/replay", method="POST").json)["status"] == "replayed"
    deliver_replays(bus, queue)
    after = cast("dict[str, Any]", client.get(operation).json)
    assert (after["status"], after["error"], after["accepted_at"]) == ("succeeded", None, before["accepted_at"])
    assert cast("dict[str, Any]", admin(f"/{letter['id']}").json)["operation"] == "succeeded"


def test_a_group_is_replayed_in_one_order_that_names_it(
    failed: Callable[..., str], admin: Ask, bus: Bus, queue: InlineQueue
) -> None:
    operations = [failed(), failed("b@example.com")]
    assert admin("/replay", {}, "POST").status_code == 422
    assert admin("/replay", {"error": "KeyError"}, "POST").json == {"replayed": 2, "remaining": 0}
    deliver_replays(bus, queue)
    assert len(operations) == len(bus.database.read(lambda primary: primary.execute("select 1 from users").fetchall()))


def test_a_dead_letter_is_discarded_once_and_with_a_reason(failed: Callable[..., str], admin: Ask) -> None:
    failed()
    path = f"/{only(admin())['id']}/discard"
    assert admin(path, {}, "POST").status_code == 422
    assert cast("dict[str, Any]", admin(path, {"reason": "a test"}, "POST").json)["note"] == "a test"
    again = admin(path, {"reason": "a test"}, "POST")
    assert (again.status_code, cast("dict[str, Any]", again.json)["code"]) == (409, "dead_letter_settled")


def test_a_missing_dead_letter_is_404(admin: Ask) -> None:
    for answer in (admin(f"/{UUID(int=5)}"), admin(f"/{UUID(int=5)}/replay", method="POST")):
        assert (answer.status_code, cast("dict[str, Any]", answer.json)["code"]) == (404, "dead_letter_not_found")


def test_operators_list_show_replay_and_discard_with_flask(
    failed: Callable[..., str], flask: Callable[..., str], bus: Bus, queue: InlineQueue
) -> None:
    failed()
    failed("b@example.com")
    assert "users.create_user  fault  KeyError" in flask("dead-letters", "list", "--groups")
    second, first = [line.split()[0] for line in flask("dead-letters", "list").splitlines()]
    assert json.loads(flask("dead-letters", "show", first))["body"]["password"] == "•••"
    flask("dead-letters", "discard", first, "--reason", "a test")
    assert "a test" in flask("dead-letters", "list", "--status", "discarded")
    assert "replayed or discarded before" in flask("dead-letters", "discard", first, "--reason", "x", exit_code=1)
    assert flask("dead-letters", "replay", "--error", "KeyError") == "1 replayed, 0 of the group are still open\n"
    flask("dead-letters", "replay", first, second)
    flask("dead-letters", "replay", exit_code=2)
    deliver_replays(bus, queue)
    assert flask("dead-letters", "list") == ""
    assert json.loads(flask("dead-letters", "show", second))["operation"] == "succeeded"


def test_a_trace_tells_the_whole_story_of_a_request(
    failed: Callable[..., str], admin: Ask, flask: Callable[..., str], bus: Bus, queue: InlineQueue
) -> None:
    handle = failed().rpartition("/")[2]
    letter = only(admin())
    admin(f"/{letter['id']}/replay", method="POST")
    assert "in outbox" in flask("trace", handle)
    deliver_replays(bus, queue)
    told = flask("trace", handle)
    assert told == flask("trace", letter["message_id"]) == flask("trace", "dead.1")
    assert told.startswith("request dead.1\n")
    steps = [line.split()[1:3] for line in told.splitlines()[1:]]
    assert steps.index(["accepted", "users.create_user"]) < steps.index(["succeeded", "users.create_user"])
    assert f"written by {letter['message_id']}" in told
    assert ["mail", "verify_email"] in steps
    assert "published to the broker" in told
    assert "fault · KeyError · died 1x · replayed" in told
    assert "note: not kept: which worker" in told


def test_a_trace_tells_that_a_command_was_spooled_and_who_gave_it(
    client: FlaskClient, flask: Callable[..., str], bus: Bus, queue: InlineQueue
) -> None:
    queue.down = True
    client.post("/api/v1/users", json=ADA, headers={"X-Request-ID": "spooled.1", "Authorization": "Bearer admin"})
    assert "waits to be published, for users.hashing" in flask("trace", "spooled.1")
    queue.down = False
    deliver_replays(bus, queue)
    told = flask("trace", "spooled.1")
    assert f"actor {UUID(int=3)} · spooled: the broker was away" in told


def test_a_trace_says_what_it_cannot_know(flask: Callable[..., str]) -> None:
    assert "nothing is kept under that id" in flask("trace", "unheard.of")
    assert "no outcome: the operation waits" in flask("trace", str(UUID(int=5)))


def test_dead_letters_that_wait_are_a_metric(failed: Callable[..., str], client: FlaskClient) -> None:
    failed()
    assert "dead_letters_open 1.0" in client.get("/metrics").text
