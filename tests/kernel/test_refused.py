"""Whoever is refused leaves a trace: a log line without a secret, and an audit entry on administrators' routes."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backend.kernel.http import refused
from backend.kernel.http.caller import Authenticate, Caller, InvalidToken
from backend.kernel.http.refused import Allowance
from backend.kernel.observe.logging import configure_logging
from backend.settings import Settings

ADA, ADMIN = Caller(UUID(int=1), UUID(int=11), ()), Caller(UUID(int=3), UUID(int=13), ("admin",))
SOMEBODY = f"/api/v1/users/{UUID(int=5)}"


@pytest.fixture
def authenticate() -> Authenticate:
    def authenticate(token: str) -> Caller:
        try:
            return {"ada": ADA, "admin": ADMIN}[token]
        except KeyError:
            raise InvalidToken from None

    return authenticate


@pytest.fixture
def client(app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    configure_logging(settings)
    for name in ("_lines", "_entries"):
        monkeypatch.setattr(refused, name, Allowance(10, 60))
    return app.test_client()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in said if line["event"] == "request refused"]


def test_a_forbidden_request_leaves_one_line(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.delete(SOMEBODY, headers={**bearer("ada"), "X-Request-ID": "r-1"})
    (line,) = lines(capsys)
    assert (line["status"], line["problem"], line["method"]) == (403, "forbidden", "DELETE")
    assert line["rule"] == "/api/v1/users/<uuid:user_id>"
    assert (line["actor"], line["ip"], line["request_id"]) == (str(ADA.user_id), "127.0.0.1", "r-1")


def test_a_bad_token_leaves_one_line_and_is_not_in_it(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.get("/api/v1/users/me", headers=bearer("a-canary"))
    written = capsys.readouterr().err
    assert json.loads(written)["problem"] == "invalid_token"
    assert "canary" not in written


def test_a_throttled_request_leaves_one_line(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(6):
        client.post("/api/v1/auth/login", json={"email": "ada@example.com", "password": "wrong"})
    assert [(line["status"], line["problem"]) for line in lines(capsys)][-1] == (429, "too_many_attempts")


def test_an_address_that_is_refused_again_and_again_does_not_fill_the_log(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(30):
        client.get("/api/v1/users/me", headers=bearer("bad"))
    assert len(lines(capsys)) == 10
    client.get("/api/v1/users/me", headers=bearer("bad"), environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert len(lines(capsys)) == 1


def test_a_network_that_is_refused_by_many_addresses_does_not_fill_the_log(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        address = {"REMOTE_ADDR": f"2001:db8::{number}"}
        client.get("/api/v1/users/me", headers=bearer("bad"), environ_overrides=address)
    assert len(lines(capsys)) == 10


def test_what_was_left_out_is_counted_once_it_is_told_again() -> None:
    times = iter([0, 1, 2, 3, 61, 62])
    allowance = Allowance(times=2, seconds=60, clock=lambda: next(times))
    assert [allowance.take("a") for _ in range(6)] == [0, 0, None, None, 2, 0]


def test_a_refusal_of_an_admin_route_is_audited(client: FlaskClient) -> None:
    client.delete(SOMEBODY, headers={**bearer("ada"), "X-Request-ID": "r-1"})
    client.get("/api/v1/users", headers=bearer("ada"))
    client.get("/api/v1/users", headers=bearer("bad"))
    entries = client.get("/api/v1/audit", headers=bearer("admin")).json["items"]
    assert [(one["action"], one["about"], one["outcome"]) for one in entries] == [
        ("GET /api/v1/users", None, "forbidden"),
        ("DELETE /api/v1/users/<uuid:user_id>", str(UUID(int=5)), "forbidden"),
    ]
    assert {one["actor"] for one in entries} == {str(ADA.user_id)}
    assert (entries[1]["ip"], entries[1]["request_id"]) == ("127.0.0.1", "r-1")


def test_somebody_who_tries_again_and_again_does_not_fill_the_audit_log(client: FlaskClient) -> None:
    for _ in range(15):
        client.get("/api/v1/users", headers=bearer("ada"))
    assert len(client.get("/api/v1/audit", headers=bearer("admin")).json["items"]) == 10
