"""What operators do about dead letters, over HTTP and with `flask`, and the trace of a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from uuid_utils.compat import uuid7

from backend.contexts.users.application.ports import UsersPorts
from backend.contexts.users.context import context as users
from backend.kernel.context import AnyContext
from backend.kernel.delivery.dead_letters import DeadLetter, Reason
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.http.caller import Authenticate, Caller
from backend.kernel.resources import Resources
from backend.program import CONTEXTS, Process
from tests.client import Answer, Client, believing
from tests.inline import InlineQueue

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
CALLERS = {"admin": Caller(UUID(int=3), UUID(int=13), ("admin",)), "ada": Caller(UUID(int=1), UUID(int=11), ())}
LETTERS = "/api/v1/dead-letters"


@pytest.fixture
def authenticate() -> Authenticate:
    return believing(CALLERS)


class Breakable:
    """The users context, which a test may break for a while."""

    def __init__(self) -> None:
        self.broken = False
        self.context = replace(users, open_ports=self._open_ports())

    def _open_ports(self) -> Callable[[Resources, UnitOfWork], UsersPorts]:
        @wraps(users.open_ports)
        def open_ports(resources: Resources, unit: UnitOfWork) -> UsersPorts:
            if self.broken:
                raise KeyError("a value")
            return users.open_ports(resources, unit)

        return open_ports


@pytest.fixture
def breakable() -> Breakable:
    return Breakable()


@pytest.fixture
def contexts(breakable: Breakable) -> Sequence[AnyContext]:
    return [breakable.context if context is users else context for context in CONTEXTS]


@pytest.fixture
def client(app: Flask) -> Client:
    """Somebody anonymous, who waits for nothing."""
    return Client(app, waits=False)


@pytest.fixture
def admin(client: Client) -> Client:
    return client.with_token("admin")


@pytest.fixture
def flask(app: Flask, queue: InlineQueue) -> Callable[..., str]:
    """Run `flask …`; its output."""

    def run(*arguments: str, exit_code: int = 0) -> str:
        queue.drain()  # what it logs meanwhile would stand in the output
        result = app.test_cli_runner().invoke(args=list(arguments))
        assert result.exit_code == exit_code, result.output
        return str(result.output)

    return run


@pytest.fixture
def failed(client: Client, process: Process, queue: InlineQueue, breakable: Breakable) -> Callable[..., str]:
    """Send a registration that its worker gives up; where to read its operation."""

    def send(email: str = "ada@example.com") -> str:
        breakable.broken = True
        accepted = client.post("/users", {**ADA, "email": email}, X_Request_ID="dead.1")
        with pytest.raises(KeyError) as fault:
            queue.drain()
        process.receiver.give_up(queue.sent[-1], Reason.FAULT, fault.value)
        breakable.broken = False
        return accepted.headers["Location"]

    return send


def only(answer: Answer) -> dict[str, Any]:
    assert answer.status_code == 200, answer.json
    (item,) = answer.json["items"]
    return dict(item)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/groups"),
        ("POST", "/replay"),
        ("POST", "/discard"),
        ("GET", f"/{UUID(int=5)}"),
        ("POST", f"/{UUID(int=5)}/replay"),
        ("POST", f"/{UUID(int=5)}/discard"),
    ],
)
def test_dead_letters_are_for_administrators_only(client: Client, method: str, path: str) -> None:
    assert client.open(method, LETTERS + path).status_code == 401
    assert client.with_token("ada").open(method, LETTERS + path).status_code == 403


def test_what_a_stranger_wrote_moves_nothing_on_the_terminal(flask: Callable[..., str], process: Process) -> None:
    strange = "nobody\x1b[2J\x9b2J\u2028\u202eknows"
    stranger = Envelope(uuid7(), strange, "users.commands", {})
    process.receiver.bury(
        DeadLetter(stranger, Reason.UNKNOWN_TASK, has_operation=False, foreign={"request_id": strange})
    )
    listed = flask("dead-letters", "list")
    for shown in (listed, flask("dead-letters", "list", "--groups"), flask("dead-letters", "show", listed.split()[0])):
        assert "nobody\\u001b[2J\\u009b2J\\u2028\\u202eknows" in shown
        assert shown.replace("\n", "").isprintable()


@pytest.mark.parametrize("settings", [{"app_env": "production"}], indirect=True)
def test_a_dead_letter_is_listed_and_shown_without_secrets(failed: Callable[..., str], admin: Client) -> None:
    failed()
    listed = only(
        admin.get(f"{LETTERS}?task=users.create_user&status=open&reason=fault&error=KeyError&request_id=dead.1")
    )
    answer = admin.get(f"{LETTERS}/{listed['id']}")
    shown = answer.json
    assert (shown["reason"], shown["error"], shown["times"], shown["operation"]) == ("fault", "KeyError", 1, "failed")
    assert (shown["body"]["email"], shown["body"]["password"]) == ("ada@example.com", "•••")
    assert listed == {name: shown[name] for name in listed}
    for text in (ADA["password"], "sealed:", "a value"):
        assert text not in answer.text


def test_listings_are_paged_and_filters_that_match_nothing_list_nothing(
    failed: Callable[..., str], admin: Client
) -> None:
    for name in ("a", "b", "c"):
        failed(f"{name}@example.com")
    first = admin.get(f"{LETTERS}?limit=2").json
    rest = admin.get(f"{LETTERS}?limit=2&cursor={first['next_cursor']}").json
    assert len({item["id"] for item in first["items"] + rest["items"]}) == 3
    assert rest["next_cursor"] is None
    for nothing in ("task=x", "status=replayed", "reason=malformed", "error=x", "request_id=x"):
        assert admin.get(f"{LETTERS}?{nothing}").json["items"] == []
    assert admin.get(f"{LETTERS}?status=unheard-of").status_code == 422


def test_groups_count_what_failed_alike(failed: Callable[..., str], admin: Client) -> None:
    failed()
    failed("b@example.com")
    group = only(admin.get(f"{LETTERS}/groups?status=open"))
    assert (group["task"], group["reason"], group["error"], group["number"]) == (
        "users.create_user",
        "fault",
        "KeyError",
        2,
    )
    assert group["per_hour"] == [0] * 23 + [2]


def test_a_replay_is_the_one_way_from_failed_to_succeeded(
    failed: Callable[..., str], admin: Client, client: Client, queue: InlineQueue
) -> None:
    operation = failed()
    before = client.get(operation).json
    assert (before["status"], before["error"]["code"]) == ("failed", "internal_error")
    letter = only(admin.get(LETTERS))
    assert admin.post(f"{LETTERS}/{letter['id']}/replay").json["status"] == "replayed"
    queue.sweep()
    after = client.get(operation).json
    assert (after["status"], after["error"], after["accepted_at"]) == ("succeeded", None, before["accepted_at"])
    assert admin.get(f"{LETTERS}/{letter['id']}").json["operation"] == "succeeded"


def test_a_group_is_replayed_in_one_order_that_names_it(
    failed: Callable[..., str], admin: Client, bus: Bus, queue: InlineQueue
) -> None:
    operations = [failed(), failed("b@example.com")]
    assert admin.post(f"{LETTERS}/replay", {}).status_code == 422
    assert admin.post(f"{LETTERS}/replay", {"error": "KeyError"}).json == {"replayed": 2, "remaining": 0}
    queue.sweep()
    assert len(operations) == len(bus.database.read(lambda primary: primary.execute("select 1 from users").fetchall()))


def test_a_dead_letter_is_discarded_once_and_with_a_reason(failed: Callable[..., str], admin: Client) -> None:
    failed()
    path = f"/{only(admin.get(LETTERS))['id']}/discard"
    assert admin.post(LETTERS + path, {}).status_code == 422
    assert admin.post(LETTERS + path, {"reason": "a test"}).json["note"] == "a test"
    again = admin.post(LETTERS + path, {"reason": "a test"})
    assert (again.status_code, again.json["code"]) == (409, "dead_letter_settled")


def test_a_group_is_discarded_with_a_reason_and_stays_failed(
    failed: Callable[..., str], admin: Client, flask: Callable[..., str]
) -> None:
    operation = [failed(), failed("b@example.com")][0]
    group = {"task": "users.create_user", "reason": "fault"}
    for lacking in (group, {"note": "a test"}):
        assert admin.post(f"{LETTERS}/discard", lacking).status_code == 422
    assert admin.post(f"{LETTERS}/discard", {**group, "error": "OSError", "note": "a test"}).json == {"discarded": 0}
    assert admin.post(f"{LETTERS}/discard", {**group, "note": "a test"}).json == {"discarded": 2}
    found = admin.get(LETTERS, {"status": "discarded"}).json["items"]
    assert [letter["note"] for letter in found] == ["a test"] * 2
    assert admin.get(operation).json["status"] == "failed"
    entries = admin.get("/audit", {"action": "dead_letters.discard_group"}).json["items"]
    assert [entry["detail"] for entry in entries] == [
        "2 of users.create_user fault",
        "0 of users.create_user fault OSError",
    ]

    failed("c@example.com")
    flask("dead-letters", "discard", "--reason", "a test", exit_code=2)
    assert flask("dead-letters", "discard", "--cause", "fault", "--reason", "a test") == "1 discarded\n"


def test_each_act_leaves_the_same_entry_over_http_and_by_flask(
    failed: Callable[..., str], admin: Client, flask: Callable[..., str]
) -> None:
    for number in range(4):
        failed(f"{number}@example.com")
    ids = [item["id"] for item in admin.get(LETTERS).json["items"]]
    admin.post(f"{LETTERS}/{ids[0]}/discard", {"reason": "a test"})
    flask("dead-letters", "discard", ids[1], "--reason", "a test")
    admin.post(f"{LETTERS}/{ids[0]}/replay")
    flask("dead-letters", "replay", ids[1])
    admin.post(f"{LETTERS}/replay", {"task": "users.create_user", "error": "KeyError"})
    failed("5@example.com"), failed("6@example.com")
    flask("dead-letters", "replay", "--task", "users.create_user", "--error", "KeyError")
    failed("7@example.com")
    admin.post(f"{LETTERS}/discard", {"reason": "fault", "note": "a test"})
    failed("8@example.com")
    flask("dead-letters", "discard", "--cause", "fault", "--reason", "a test")
    entries = [one for one in admin.get("/audit").json["items"] if one["action"].startswith("dead_letters.")]
    assert [(one["action"], one["about"] or one["detail"], one["reason"]) for one in reversed(entries)] == [
        ("dead_letters.discard", ids[0], "a test"),
        ("dead_letters.discard", ids[1], "a test"),
        ("dead_letters.replay", ids[0], None),
        ("dead_letters.replay", ids[1], None),
        *[("dead_letters.replay_group", "2 of users.create_user KeyError", None)] * 2,
        *[("dead_letters.discard_group", "1 of fault", "a test")] * 2,
    ]


def test_a_missing_dead_letter_is_404(admin: Client) -> None:
    for answer in (admin.get(f"{LETTERS}/{UUID(int=5)}"), admin.post(f"{LETTERS}/{UUID(int=5)}/replay")):
        assert (answer.status_code, answer.json["code"]) == (404, "dead_letter_not_found")


def test_operators_list_show_replay_and_discard_with_flask(
    failed: Callable[..., str], flask: Callable[..., str], queue: InlineQueue
) -> None:
    failed()
    failed("b@example.com")
    assert "users.create_user  fault  KeyError" in flask("dead-letters", "list", "--groups")
    second, first = [line.split()[0] for line in flask("dead-letters", "list").splitlines()]
    assert json.loads(flask("dead-letters", "show", first))["body"]["password"] == "•••"
    flask("dead-letters", "discard", first, "--reason", "a test")
    assert "a test" in flask("dead-letters", "list", "--status", "discarded")
    assert "already replayed or discarded" in flask("dead-letters", "discard", first, "--reason", "x", exit_code=1)
    assert flask("dead-letters", "replay", "--error", "KeyError") == "1 replayed, 0 of the group are still open\n"
    flask("dead-letters", "replay", first, second)
    flask("dead-letters", "replay", exit_code=2)
    queue.sweep()
    assert flask("dead-letters", "list") == ""
    assert json.loads(flask("dead-letters", "show", second))["operation"] == "succeeded"


@pytest.mark.parametrize("settings", [{"app_env": "production"}], indirect=True)
def test_a_trace_tells_the_whole_story_of_a_request(
    failed: Callable[..., str], admin: Client, flask: Callable[..., str], queue: InlineQueue
) -> None:
    handle = failed().rpartition("/")[2]
    letter = only(admin.get(LETTERS))
    admin.post(f"{LETTERS}/{letter['id']}/replay")
    assert "in outbox" in flask("trace", handle)
    queue.sweep()
    told = flask("trace", handle)
    assert told == flask("trace", letter["message_id"]) == flask("trace", "dead.1")
    assert told.startswith("request dead.1\n")
    steps = [line.split()[1:3] for line in told.splitlines()[1:]]
    assert steps.index(["accepted", "users.create_user"]) < steps.index(["succeeded", "users.create_user"])
    assert f"written by {letter['message_id']}" in told
    assert ["mail", "verify_email"] in steps
    assert "published to the broker" in told
    assert "fault · KeyError · failed 1x · replayed" in told
    assert "note: not stored: redeliveries" in told
    assert "by inline" in told


def test_a_trace_tells_that_a_command_was_spooled_and_who_gave_it(
    client: Client, flask: Callable[..., str], queue: InlineQueue
) -> None:
    queue.down = True
    client.with_token("admin").post(f"/users/{UUID(int=7)}/activate", X_Request_ID="spooled.1")
    assert "waits to be published, for users.commands" in flask("trace", "spooled.1")
    queue.down = False
    queue.sweep()
    told = flask("trace", "spooled.1")
    assert f"actor {UUID(int=3)} · spooled: the broker was away" in told


def test_discarding_looks_for_the_dead_letter_before_the_body(admin: Client) -> None:
    assert admin.post(f"/dead-letters/{UUID(int=5)}/discard", data="{").status_code == 404


def test_a_trace_says_what_it_cannot_know(flask: Callable[..., str]) -> None:
    assert "nothing is stored under that id" in flask("trace", "unheard.of")
    assert "no outcome: the operation waits" in flask("trace", str(UUID(int=5)))


def test_dead_letters_that_wait_are_a_metric(failed: Callable[..., str], client: Client) -> None:
    failed()
    assert "dead_letters_open 1.0" in client.get("/metrics").text
