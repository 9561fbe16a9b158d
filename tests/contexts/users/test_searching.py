"""What a search finds, whatever the locale of the database."""

from __future__ import annotations

import psycopg
import pytest
from flask import Flask

from tests.client import Client
from tests.contexts.users.conftest import Register

_IRMAK = "IRMAK Y\u0131ld\u0131z"
_FOUND = {
    "IRM": _IRMAK,
    "irmak y": _IRMAK,
    "IRMAK@": _IRMAK,
    "IRIS": _IRMAK,
    "ÉLO": "Élodie",
    "e\u0301lo": "Élodie",
    "STRASS": "Straßer",
    "STRAß": "Straßer",
    "straße@": "Straßer",
    "ibr": "İbrahim",
    "IBR": "İbrahim",
    "İBR": "İbrahim",
}


@pytest.fixture
def clean_database(foreign_database: str) -> str:
    return foreign_database


def test_the_beginning_of_a_name_a_username_or_an_address_is_found(register: Register, admin: Client) -> None:
    register(name=_IRMAK, email="IRMAK@example.com", username="IRIS")
    register(name="Élodie", email="e@example.com")
    register(name="Straßer", email="STRAßE@example.com")
    register(name="İbrahim", email="i@example.com")
    assert {q: _found(admin, q) for q in _FOUND} == {q: [name] for q, name in _FOUND.items()}


def test_usernames_and_addresses_are_unique_without_regard_to_case(register: Register, visitor: Client) -> None:
    register(email="INFO@example.com", username="IRIS")
    for taken in ({"email": "info@example.com"}, {"email": "other@example.com", "username": "iris"}):
        answer = visitor.post("/users", {"name": "Ada", "password": "correct horse battery", **taken})
        assert answer.status_code == 409


def test_a_changed_name_is_found(register: Register, admin: Client) -> None:
    person = register(name="Ada")
    assert person.put("/users/me", {"name": "IRMAK"}).status_code == 200
    assert _found(admin, "irm") == ["IRMAK"]


def test_rows_without_search_keys_get_them(
    app: Flask, register: Register, admin: Client, foreign_database: str
) -> None:
    """A process of the release before writes none."""
    register(name="IRMAK")
    with psycopg.connect(foreign_database) as connection:
        connection.execute("UPDATE users SET name_key = ''")
    assert _found(admin, "irm") == []

    for changed in (1, 0):
        result = app.test_cli_runner().invoke(args=["search-keys"])
        assert f"users: {changed} rows changed" in result.output
        assert _found(admin, "irm") == ["IRMAK"]


def _found(admin: Client, q: str) -> list[str]:
    return [user["name"] for user in admin.get("/users", {"q": q}).json["items"]]
