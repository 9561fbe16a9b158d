"""POST /auth/reauthenticate, and what needs it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.client import PASSWORD, Client
from tests.contexts.auth.conftest import Database, Person, Told
from tests.inline import InlineQueue

NEEDS_IT: list[tuple[str, str, Any]] = [
    ("delete", "/users/me", None),
    ("put", "/users/me", {"username": "countess"}),
    ("patch", "/users/me", {"username": "countess", "age": 36}),
    ("put", "/auth/profile", {"username": None}),
]


def claims(tokens: Any) -> dict[str, Any]:
    payload = tokens["access_token"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


def refreshed(client: Client, tokens: Any) -> Any:
    answer = client.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})
    assert answer.status_code == 200, answer.json
    return answer.json


def again(client: Client, tokens: Any, password: str = PASSWORD) -> Any:
    return client.with_token(tokens["access_token"]).post("/auth/reauthenticate", {"password": password})


@pytest.fixture
def stale(client: Client, ada: Person, database: Database) -> Any:
    """The tokens of somebody who signed in eleven minutes ago, and refreshed them just now."""
    tokens = client.sign_in(ada.email).json
    database.execute("update sessions set authenticated_at = authenticated_at - interval '11 minutes'")
    return refreshed(client, tokens)


def test_tokens_tell_when_and_how_their_owner_authenticated(client: Client, ada: Person) -> None:
    """`auth_time` and `amr` (RFC 8176)."""
    told = claims(client.sign_in(ada.email).json)
    assert told["amr"] == ["pwd"]
    assert 0 <= told["iat"] - told["auth_time"] <= 1


def test_a_refresh_does_not_renew_the_time_and_a_sign_in_does(client: Client, ada: Person, stale: Any) -> None:
    """A refresh does not renew `auth_time`, a login does."""
    told = claims(stale)
    assert told["iat"] - told["auth_time"] >= 660
    told = claims(client.sign_in(ada.email).json)
    assert told["iat"] - told["auth_time"] <= 1


def test_the_password_brings_tokens_of_the_same_session_with_a_fresh_time(client: Client, stale: Any) -> None:
    """200 tokens of the same session with a fresh `auth_time`."""
    answer = again(client, stale)
    assert answer.status_code == 200
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
    told = claims(answer.json)
    assert told["sid"] == claims(stale)["sid"]
    assert told["iat"] - told["auth_time"] <= 1
    assert claims(refreshed(client, answer.json))["auth_time"] == told["auth_time"]
    assert client.with_token(stale["access_token"]).get("/users/me").status_code == 200


def test_the_refresh_token_before_brings_the_same_successor_for_thirty_seconds(client: Client, stale: Any) -> None:
    """The answer may have been lost on its way, and another tab may refresh at the same time."""
    answer = again(client, stale)
    assert refreshed(client, stale)["refresh_token"] == answer.json["refresh_token"]


def test_a_wrong_password_is_403_and_counted(client: Client, stale: Any) -> None:
    """Wrong: `403 wrong_password`, counted."""
    for _ in range(5):
        wrong = again(client, stale, "wrong password")
        assert (wrong.status_code, wrong.json["code"]) == (403, "wrong_password")
    assert again(client, stale).status_code == 429


def test_it_takes_a_token(client: Client) -> None:
    assert client.post("/auth/reauthenticate", {"password": PASSWORD}).status_code == 401


def test_with_two_step_the_answers_are_those_of_a_sign_in(  # noqa: PLR0913, PLR0917
    client: Client, ada: Person, stale: Any, database: Database, told: Told, queue: InlineQueue
) -> None:
    database.set_user(ada.id, two_step=True)
    answer = again(client, stale)
    assert set(answer.json) == {"two_step", "challenge", "expires_in"}
    queue.drain()
    done = client.post("/auth/verify-code", {"challenge": answer.json["challenge"], "code": told.codes()[-1]})
    assert done.status_code == 200
    proven = claims(done.json)
    assert (proven["sid"], proven["amr"]) == (claims(stale)["sid"], ["pwd", "otp", "mfa"])
    assert proven["iat"] - proven["auth_time"] <= 1


@pytest.mark.parametrize(("method", "path", "body"), NEEDS_IT)
def test_what_cannot_be_undone_needs_it_at_most_ten_minutes_before(
    client: Client, stale: Any, method: str, path: str, body: Any
) -> None:
    """DELETE /users/me and a change of `username`: else `403 reauthentication_required`."""
    arguments = [path, *([body] if body else [])]
    refused = getattr(client.with_token(stale["access_token"]), method)(*arguments)
    assert (refused.status_code, refused.json["code"]) == (403, "reauthentication_required")
    fresh = again(client, stale).json["access_token"]
    assert getattr(client.with_token(fresh), method)(*arguments).status_code in (200, 204)


def test_it_is_asked_for_before_what_is_wrong_with_the_body(client: Client, stale: Any) -> None:
    """Order of checks: 401, 403, …, 415, 413, 400, 422, as far as the body can be read."""
    here = client.with_token(stale["access_token"])
    assert here.patch("/users/me", {"username": "no", "age": -1, "x": 1}).json["code"] == "reauthentication_required"
    assert here.patch("/users/me", {"age": -1}).status_code == 422
    assert here.patch("/users/me", ["username"]).status_code == 422
    assert here.patch("/users/me").status_code == 415


def test_other_changes_do_not_need_it(client: Client, stale: Any) -> None:
    here = client.with_token(stale["access_token"])
    assert here.patch("/users/me", {"age": 36}).status_code == 200
    assert here.put("/auth/profile", {"full_name": "Ada King"}).status_code == 200
