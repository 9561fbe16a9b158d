"""What operators see and do about a user, with real accounts and sessions."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from flask import Flask

from backend.contexts.users.application.commands import CreateAdmin
from backend.contexts.users.domain.user import PersonName
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.messages.secret import Secret
from tests.client import PASSWORD, Client
from tests.inline import InlineQueue


@pytest.fixture
def authenticate() -> None:
    """Access tokens and sessions as they are."""


@pytest.fixture
def admin(app: Flask, bus: Bus) -> Client:
    bus.execute(CreateAdmin(UUID(int=3), PersonName("Root"), "root@example.com", Secret(PASSWORD)))
    return Client(app, Client(app).sign_in("root@example.com").json["access_token"])


@pytest.fixture
def ada(app: Flask) -> str:
    answer = Client(app).post("/users", {"name": "Ada", "email": "ada@example.com", "password": PASSWORD})
    return str(answer.json["id"])


def test_administrators_see_the_sessions_of_a_user(app: Flask, admin: Client, ada: str) -> None:
    assert admin.get(f"/users/{ada}/sessions").json == {"items": []}
    token = Client(app, address="192.0.2.9").sign_in("ada@example.com").json["access_token"]
    (session,) = admin.get(f"/users/{ada}/sessions").json["items"]
    assert (session["ip"], session["current"]) == ("192.0.2.9", False)
    assert [one["current"] for one in admin.get(f"/users/{UUID(int=3)}/sessions").json["items"]] == [True]
    assert Client(app, token).get(f"/users/{ada}/sessions").status_code == 403
    assert Client(app).get(f"/users/{ada}/sessions").status_code == 401
    assert admin.get(f"/users/{uuid4()}/sessions").status_code == 404


def test_operators_end_sessions_and_ask_for_another_link_with_flask(
    app: Flask, admin: Client, ada: str, flask: Callable[..., str], queue: InlineQueue
) -> None:
    Client(app, address="192.0.2.9").sign_in("ada@example.com")
    (line,) = flask("sessions", "ada@example.com").splitlines()
    assert "192.0.2.9" in line
    assert flask("sessions", ada) == f"{line}\n"
    flask("users", "sign-out", "ada@example.com")
    assert flask("sessions", ada) == ""
    flask("users", "resend-verification", "ada@example.com")
    queue.sweep()  # a relay that is too slow on a busy machine leaves its messages to it
    assert [envelope.name for envelope in queue.sent].count("notifications.mail_verification_link") == 2
    for nobody in ("nobody@example.com", str(uuid4()), "nobody"):
        flask("sessions", nobody, exit_code=1)


def test_each_act_leaves_the_same_entry_over_http_and_by_flask(
    app: Flask, admin: Client, ada: str, flask: Callable[..., str]
) -> None:
    boris = {"name": "Boris", "email": "boris@example.com", "password": PASSWORD}
    other = str(Client(app).post("/users", boris).json["id"])
    admin.post(f"/users/{ada}/deactivate")
    admin.post(f"/users/{ada}/activate")
    admin.delete(f"/users/{ada}/sessions")
    admin.put(f"/users/{ada}/roles", {"roles": ["admin"]})
    admin.delete(f"/users/{ada}")
    for act in (("deactivate",), ("activate",), ("sign-out",), ("set-roles", "admin"), ("delete",)):
        flask("users", act[0], other, *act[1:])
    by_http, by_shell = (admin.get("/audit", {"about": user}).json["items"][:5] for user in (ada, other))
    told = ("action", "detail", "reason", "outcome")
    assert [[one[name] for name in told] for one in by_http] == [[one[name] for name in told] for one in by_shell]
    assert len(by_http) == len(by_shell) == 5
    assert {one["actor"] for one in by_http} == {str(UUID(int=3))}
    assert {one["actor"] for one in by_shell} == {None}


def test_an_unknown_user_is_refused_in_the_same_words_over_http_and_by_flask(
    admin: Client, flask: Callable[..., str]
) -> None:
    nobody = uuid4()
    refused = admin.post(f"/users/{nobody}/deactivate").json["detail"]
    assert flask("users", "deactivate", str(nobody), exit_code=1) == f"Error: {refused}\n"
    assert flask("sessions", str(nobody), exit_code=1) == f"Error: {refused}\n"
