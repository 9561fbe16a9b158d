"""What happens to an account decides at once who is let in: with real sessions and access tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from backend.contexts.users.domain.events import EmailVerificationRequested, PasswordResetRequested
from tests.client import PASSWORD, Client
from tests.contexts.users.conftest import Mailbox
from tests.inline import InlineQueue

NEW = "staple of the horse"
SignIn = Callable[..., "Session"]


class Session(Client):
    """Somebody signed in."""

    def __init__(self, app: Flask, tokens: dict[str, Any]) -> None:
        super().__init__(app, tokens["access_token"])
        self.refresh_token = tokens["refresh_token"]

    @property
    def is_let_in(self) -> bool:
        return self.get("/users/me").status_code == 200


@pytest.fixture
def authenticate() -> None:
    """Real sessions and access tokens."""


@pytest.fixture
def sign_in(app: Flask, visitor: Client) -> SignIn:
    def signed_in(email: str = "ada@example.com", password: str = PASSWORD) -> Session:
        answer = visitor.sign_in(email, password)
        assert answer.status_code == 200, answer.json
        return Session(app, answer.json)

    return signed_in


@pytest.fixture
def ada_id(visitor: Client) -> str:
    body = {"name": "Ada", "email": "ada@example.com", "username": "Ada", "password": PASSWORD}
    return str(visitor.post("/users", body).json["id"])


@pytest.fixture
def root(app: Flask, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> Session:
    """An administrator."""
    monkeypatch.setenv("ADMIN_PASSWORD", NEW)
    made = app.test_cli_runner().invoke(args=["users", "create-admin", "--email", "root@example.com", "--name", "Root"])
    assert made.exit_code == 0, made.output
    return sign_in("root@example.com", NEW)


def test_deactivating_ends_every_session_at_once(ada_id: str, sign_in: SignIn, root: Session, visitor: Client) -> None:
    here, there = sign_in(), sign_in()
    assert root.post(f"/users/{ada_id}/deactivate").status_code == 200
    assert not here.is_let_in
    assert not there.is_let_in
    refused = visitor.sign_in("ada@example.com")
    assert (refused.status_code, refused.json["code"]) == (401, "invalid_credentials")
    root.post(f"/users/{ada_id}/activate")
    assert not here.is_let_in
    assert sign_in().is_let_in


def test_new_roles_refuse_the_tokens_issued_before_and_a_refresh_brings_them(
    app: Flask, ada_id: str, sign_in: SignIn, root: Session, visitor: Client
) -> None:
    ada = sign_in()
    assert root.put(f"/users/{ada_id}/roles", {"roles": ["admin"]}).status_code == 200
    assert not ada.is_let_in
    renewed = Session(app, visitor.post("/auth/refresh", {"refresh_token": ada.refresh_token}).json)
    assert renewed.get("/users").status_code == 200
    root.put(f"/users/{ada_id}/roles", {"roles": []})
    assert not renewed.is_let_in


def test_deleting_an_account_ends_its_sessions_and_frees_its_address(
    ada_id: str, sign_in: SignIn, visitor: Client
) -> None:
    here, there = sign_in(), sign_in()
    accepted = here.delete("/users/me")
    assert accepted.status_code == 204
    assert not here.is_let_in
    assert not there.is_let_in
    assert visitor.sign_in("ada@example.com").status_code == 401
    again = visitor.post("/users", {"name": "Ada", "email": "ada@example.com", "password": PASSWORD})
    assert again.status_code == 201


def test_changing_the_password_ends_the_other_sessions(ada_id: str, sign_in: SignIn) -> None:
    here, there = sign_in(), sign_in()
    assert here.put("/auth/change-password", {"old_password": PASSWORD, "new_password": NEW}).status_code == 204
    assert here.is_let_in
    assert not there.is_let_in
    assert sign_in(password=NEW).is_let_in


def test_resetting_the_password_ends_every_session_and_does_not_skip_the_two_step_code(
    mailbox: Mailbox, ada_id: str, sign_in: SignIn, visitor: Client
) -> None:
    ada = sign_in()
    assert ada.put("/auth/two-step", {"enabled": True, "password": PASSWORD}).status_code == 204
    visitor.post("/auth/forgot-password", {"email": "ada@example.com"})
    token = mailbox.token(PasswordResetRequested, "ada@example.com")
    assert visitor.post("/auth/reset-password", {"token": token, "new_password": NEW}).status_code == 204
    assert not ada.is_let_in
    answer = visitor.sign_in("ada@example.com", NEW)
    assert answer.json["two_step"] is True
    assert "access_token" not in answer.json


def test_by_default_an_account_is_of_use_before_its_address_is_verified(ada_id: str, sign_in: SignIn) -> None:
    assert sign_in().get("/users/me").json["email_verified"] is False


@pytest.mark.parametrize("settings", [{"require_email_verification": True}], indirect=True)
def test_where_verification_is_required_a_right_password_is_answered_like_a_wrong_one_and_sends_a_fresh_link(
    visitor: Client, mailbox: Mailbox, sign_in: SignIn, queue: InlineQueue
) -> None:
    email = "ada@example.com"
    visitor.post("/users", {"name": "Ada", "email": email, "password": PASSWORD})
    right = visitor.post("/auth/login", {"email": email, "password": PASSWORD}, X_Request_ID="same")
    queue.sweep()
    assert len(mailbox.sent(EmailVerificationRequested, email)) == 2
    wrong = visitor.post("/auth/login", {"email": email, "password": "wrong"}, X_Request_ID="same")
    assert (right.status_code, right.data) == (wrong.status_code, wrong.data)
    visitor.post("/auth/login", {"email": email, "password": PASSWORD})
    queue.sweep()
    assert len(mailbox.sent(EmailVerificationRequested, email)) == 2
    token = mailbox.token(EmailVerificationRequested, email)
    assert visitor.post("/auth/verify-email", {"token": token, "password": PASSWORD}).status_code == 204
    assert sign_in().is_let_in


def test_an_admin_route_asks_the_database_for_roles_whatever_the_token_says(
    root: Session, ada_id: str, sign_in: SignIn, sql: Callable[..., Any]
) -> None:
    ada, path = sign_in(), f"/users/{ada_id}"
    assert ada.get("/users").status_code == 403
    sql("update users set roles = '{}' where email = 'root@example.com'")
    sql("update users set roles = '{admin}' where email = 'ada@example.com'")
    assert (root.get("/users").status_code, root.post(f"{path}/deactivate").status_code) == (403, 403)
    assert "email" not in root.get(path).json  # what only admins see is no admin route, but theirs all the same
    assert ada.get("/users").status_code == 200
    sql("update users set is_active = false where email = 'ada@example.com'")
    assert ada.get("/users").status_code == 401


def test_an_admin_route_asks_the_database_for_the_session_too(root: Session, sql: Callable[..., Any]) -> None:
    assert root.get("/users").status_code == 200
    sql("update sessions set ended_at = now()")  # and no process is notified
    assert root.get("/users").status_code == 401
