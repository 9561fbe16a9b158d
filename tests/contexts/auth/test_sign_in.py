"""POST /auth/login and POST /auth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.contexts.users.application.commands import DeactivateUser
from backend.kernel.delivery.dispatch import Bus
from backend.program import Process
from backend.settings import Settings
from tests.client import PASSWORD, Client
from tests.contexts.auth.conftest import Database, Person, Register, Told, ordered_by_an_admin
from tests.inline import InlineQueue
from tests.program import another_process
from tests.settings import settings_with


def test_a_right_password_brings_tokens_that_work(client: Client, ada: Person) -> None:
    """`{"access_token", "token_type": "Bearer", "expires_in", "refresh_token"}`, 15 minutes by default."""
    answer = client.sign_in(ada.email)
    assert answer.status_code == 200
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 900)
    assert client.with_token(answer.json["access_token"]).get("/auth/me").json["id"] == str(ada.id)


@pytest.mark.parametrize("path", ["/auth", "/auth/", "/auth/login", "/auth/login/"])
@pytest.mark.parametrize("name", [{"email": "PERSON1@example.com"}, {"username": "Person1"}])
def test_either_name_signs_in_in_any_case_at_either_address(
    client: Client, ada: Person, path: str, name: dict[str, str]
) -> None:
    """POST /auth/login, POST /auth: `{"email" or "username", "password"}`."""
    assert client.post(path, {**name, "password": PASSWORD}).status_code == 200


def test_answers_with_tokens_are_not_stored_by_caches(client: Client, ada: Person) -> None:
    """Responses that carry tokens: `Cache-Control: no-store`."""
    signed_in = client.sign_in(ada.email)
    refreshed = client.post("/auth/refresh", {"refresh_token": signed_in.json["refresh_token"]})
    assert [one.headers["Cache-Control"] for one in (signed_in, refreshed)] == ["no-store"] * 2


@pytest.mark.parametrize(
    "body",
    [
        {"password": PASSWORD},
        {"email": "a@example.com"},
        {"email": "a@example.com", "username": "a", "password": PASSWORD},
        {"email": 5, "password": PASSWORD},
        {"email": "a@example.com", "password": PASSWORD, "remember": True},
    ],
)
def test_a_body_of_another_shape_is_422(client: Client, body: dict[str, Any]) -> None:
    answer = client.post("/auth/login", body)
    assert answer.status_code == 422
    assert answer.json["errors"]


def test_whatever_is_wrong_the_answer_is_the_same(client: Client, register: Register, database: Database) -> None:
    """Wrong credentials, unknown account, deactivated account: the same 401 `invalid_credentials`."""
    ada, locked_out = register(), register()
    database.set_user(locked_out.id, is_active=False)
    answers = [
        client.sign_in(ada.email, "wrong password"),
        client.sign_in("nobody@example.com"),
        client.sign_in("nobody"),
        client.sign_in("no address @"),
        client.sign_in(locked_out.email),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.json["code"] == "invalid_credentials"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert {**answer.json, "request_id": ""} == {**answers[0].json, "request_id": ""}


def test_a_password_that_is_no_more_signs_nobody_in(client: Client, ada: Person, database: Database) -> None:
    assert client.sign_in(ada.email).status_code == 200
    database.set_user(ada.id, password_hash="nobody$2b$04$" + "." * 53)
    assert client.sign_in(ada.email).json["code"] == "invalid_credentials"


def test_a_deactivated_account_signs_in_again_once_it_is_activated(
    client: Client, ada: Person, database: Database, bus: Bus, queue: InlineQueue
) -> None:
    ordered_by_an_admin(bus, queue, DeactivateUser(ada.id))
    assert client.sign_in(ada.email).status_code == 401
    database.set_user(ada.id, is_active=True)
    assert client.sign_in(ada.email).status_code == 200


@pytest.mark.parametrize("settings", [{"require_email_verification": True}], indirect=True)
class TestWhereVerificationIsRequired:
    """With REQUIRE_EMAIL_VERIFICATION=true an unverified account cannot sign in."""

    BODY = {"name": "Ada", "email": "ada@example.com", "password": PASSWORD}  # noqa: RUF012

    def test_an_unverified_account_gets_the_same_answer_whatever_the_password(
        self, client: Client, queue: InlineQueue
    ) -> None:
        """The same `401 invalid_credentials` whatever the password."""
        client.post("/users", self.BODY)
        queue.drain()
        right, wrong = client.sign_in("ada@example.com"), client.sign_in("ada@example.com", "wrong password")
        assert right.status_code == wrong.status_code == 401
        assert {**right.json, "request_id": ""} == {**wrong.json, "request_id": ""}

    def test_only_a_right_password_asks_for_a_fresh_link(
        self, client: Client, queue: InlineQueue, told: Told, database: Database
    ) -> None:
        """A right one sends a fresh link."""
        client.post("/users", self.BODY)
        queue.drain()
        client.sign_in("ada@example.com", "wrong password")
        queue.sweep()
        assert told.events == []
        client.sign_in("ada@example.com")
        queue.sweep()
        ((user_id,),) = database.execute("select id from users")
        assert [event.user_id for event in told.events] == [user_id]

    def test_right_guesses_at_an_unverified_account_are_throttled_like_wrong_ones(
        self, client: Client, queue: InlineQueue
    ) -> None:
        client.post("/users", self.BODY)
        queue.drain()
        assert [client.sign_in("ada@example.com").status_code for _ in range(6)] == [401] * 5 + [429]

    def test_a_verified_account_signs_in(self, client: Client, queue: InlineQueue, database: Database) -> None:
        client.post("/users", self.BODY)
        queue.drain()
        database.execute("update users set email_verified = true, pending = false")
        assert client.sign_in("ada@example.com").status_code == 200


def test_a_sign_in_is_audited_with_the_user_it_was_about(client: Client, ada: Person, database: Database) -> None:
    client.sign_in(ada.email, "wrong password")
    client.sign_in(ada.email)
    entries = database.execute("select about, outcome from audit_log where action = 'auth.sign_in' order by at")
    assert entries == [(ada.id, "invalid_credentials"), (ada.id, "succeeded")]


def test_an_account_that_never_verified_is_not_purged_once_it_is_used_where_that_is_not_required(
    settings: Settings, client: Client, process: Process, database: Database, tmp_path: Path
) -> None:
    """V on, one registers and never verifies; V off; he signs in; the purge comes after 31 days."""
    body = {"name": "Ada", "email": "ada@example.com", "password": PASSWORD, "username": "Ada"}
    required = settings_with(
        database_url=settings.database_url, mail_url=f"file:{tmp_path}/mail", require_email_verification=True
    )
    with another_process(required) as app:
        for person in (body, {**body, "email": "eve@example.com", "username": "Eve"}):
            assert Client(app).post("/users", person).json["status"] == "succeeded"
    tokens = client.sign_in("ada@example.com").json
    database.execute("update users set created_at = now() - interval '31 days'")
    process.purge()
    assert database.execute("select email, username, pending from users") == [("ada@example.com", "Ada", False)]
    refreshed = client.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})
    assert client.with_token(refreshed.json["access_token"]).get("/users/me").json["username"] == "Ada"


def test_a_session_of_the_release_before_keeps_its_pending_account(
    client: Client, ada: Person, database: Database
) -> None:
    token = client.sign_in(ada.email).json["refresh_token"]
    database.set_user(ada.id, pending=True)
    assert client.post("/auth/refresh", {"refresh_token": token}).status_code == 200
    assert database.execute("select pending from users") == [(False,)]
