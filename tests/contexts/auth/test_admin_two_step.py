"""Administrators and their second factor."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Client
from tests.contexts.auth.conftest import Database, Person, Register, Told
from tests.inline import InlineQueue

REQUIRED = pytest.mark.parametrize("settings", [{"require_admin_two_step": True}], indirect=True)


@pytest.fixture
def root(ada: Person, database: Database) -> Person:
    database.set_user(ada.id, roles=["admin"])
    return ada


def with_code(client: Client, person: Person, told: Told, queue: InlineQueue) -> Any:
    challenge = client.sign_in(person.email).json["challenge"]
    queue.drain()
    return client.post("/auth/verify-code", {"challenge": challenge, "code": told.codes()[-1]}).json


def test_an_administrator_without_two_step_is_told_so_at_each_sign_in_and_administers(
    client: Client, root: Person
) -> None:
    for _ in range(2):
        answer = client.sign_in(root.email).json
        assert answer["two_step_missing"] is True
        assert client.with_token(answer["access_token"]).get("/users").status_code == 200


def test_an_administrator_with_two_step_is_told_nothing(
    client: Client, root: Person, database: Database, told: Told, queue: InlineQueue
) -> None:
    database.set_user(root.id, two_step=True)
    assert "two_step_missing" not in with_code(client, root, told, queue)


@REQUIRED
def test_where_two_step_is_required_an_administrator_administers_only_after_the_code(  # noqa: PLR0913, PLR0917
    client: Client, root: Person, database: Database, told: Told, queue: InlineQueue, register: Register
) -> None:
    other = register()
    answer = client.sign_in(root.email).json
    assert answer["two_step_missing"] is True
    without = client.with_token(answer["access_token"])
    assert (without.get("/users").status_code, without.get("/users/me").status_code) == (403, 200)
    assert "email" not in without.get(f"/users/{other.id}").json
    fresh = client.post("/auth/refresh", {"refresh_token": answer["refresh_token"]}).json["access_token"]
    assert client.with_token(fresh).get("/users").status_code == 403
    database.set_user(root.id, two_step=True)
    assert client.with_token(with_code(client, root, told, queue)["access_token"]).get("/users").status_code == 200
