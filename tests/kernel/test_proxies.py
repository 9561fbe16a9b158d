"""What proxies say of a request, and how far they are believed."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.inline import InlineQueue

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
USERS = "/api/v1/users"
BEHIND_ONE = pytest.mark.parametrize("settings", [{"trusted_proxies": 1}], indirect=True)
PREFIXED = {"X-Forwarded-Prefix": "/backend"}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"trusted_proxies": 0}, "127.0.0.1"),
        ({"trusted_proxies": 1}, "10.0.0.2"),
        ({"trusted_proxies": 2}, "10.0.0.1"),
        ({"trusted_proxies": 3}, "127.0.0.1"),
    ],
    indirect=["settings"],
)
def test_addresses_are_believed_as_far_as_proxies_are_trusted(
    client: FlaskClient, queue: InlineQueue, address: str
) -> None:
    client.post(USERS, json=ADA, headers={"X-Forwarded-For": "10.0.0.1, 10.0.0.2"})
    assert queue.sent[0].headers.ip == address


@BEHIND_ONE
@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("203.0.113.8:5100", "203.0.113.8"),
        (" 203.0.113.8 ", "203.0.113.8"),
        ("[2001:DB8::0:1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("2001:0db8:0:0:0:0:0:1", "2001:db8::1"),
        ("::ffff:203.0.113.8", "203.0.113.8"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "127.0.0.1"),
        ("_hidden", "127.0.0.1"),
        ("203.0.113.8.evil", "127.0.0.1"),
        ("203.0.113.008", "127.0.0.1"),
        ("[]", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("x" * 5000, "127.0.0.1"),
    ],
)
def test_an_address_is_taken_in_its_one_spelling_and_anything_else_counts_as_the_peers(
    client: FlaskClient, queue: InlineQueue, told: str, address: str
) -> None:
    client.post(USERS, json=ADA, headers={"X-Forwarded-For": told})
    assert queue.sent[0].headers.ip == address


@pytest.mark.parametrize(
    ("settings", "told", "address"),
    [
        ({"trusted_proxies": 1}, '"a, 203.0.113.8', "203.0.113.8"),
        ({"trusted_proxies": 1}, '1.2.3.4, "\\", 203.0.113.8', "203.0.113.8"),
        ({"trusted_proxies": 2}, '1.2.3.4, ", 203.0.113.8, 10.0.0.1', "203.0.113.8"),
    ],
    indirect=["settings"],
)
def test_a_quote_that_a_client_opens_does_not_swallow_what_the_proxy_adds(
    client: FlaskClient, queue: InlineQueue, told: str, address: str
) -> None:
    client.post(USERS, json=ADA, headers={"X-Forwarded-For": told})
    assert queue.sent[0].headers.ip == address


@BEHIND_ONE
def test_wrong_passwords_from_one_address_are_throttled_whatever_the_port(client: FlaskClient) -> None:
    wrong = {"email": "ada@example.com", "password": "wrong"}
    statuses = [
        client.post(
            "/api/v1/auth/login", json=wrong, headers={"X-Forwarded-For": f"203.0.113.8:{5100 + number}"}
        ).status_code
        for number in range(6)
    ]
    assert statuses == [401] * 5 + [429]


@BEHIND_ONE
def test_every_address_that_is_given_has_the_prefix_of_the_proxy(client: FlaskClient, queue: InlineQueue) -> None:
    waited = client.post(USERS, json=ADA, headers={"Prefer": "wait=5", **PREFIXED})
    assert waited.headers["Location"] == f"/backend{USERS}/{waited.json['id']}"
    accepted = client.post(USERS, json=ADA, headers=PREFIXED)
    assert accepted.headers["Location"] == f"/backend/api/v1/operations/{accepted.json['id']}"
    queue.drain()
    operation = client.get(accepted.headers["Location"].removeprefix("/backend"), headers=PREFIXED)
    assert operation.json["resource"].startswith(f"/backend{USERS}/")
    assert operation.json["error"]["type"] == "/backend/problems/email_taken"
    refused = client.get("/nowhere", headers=PREFIXED)
    assert refused.json["type"] == "/backend/problems/not_found"


@BEHIND_ONE
def test_pages_and_their_links_have_the_prefix_of_the_proxy(client: FlaskClient) -> None:
    for path in ("/docs", "/problems", "/problems/not_found", "/console", "/verify-email", "/reset-password"):
        page = client.get(path, headers=PREFIXED).text
        addresses = re.findall(r'(?:href|src|data-spec)="(/[^"]*)"', page)
        assert addresses
        assert all(address.startswith("/backend/") for address in addresses)


@BEHIND_ONE
@pytest.mark.parametrize(
    "prefix", ["//evil.net", "backend", "/back end", "https://evil.net", "/a/../b", "/..", "/a/.", "/"]
)
def test_what_is_no_path_is_no_prefix(client: FlaskClient, prefix: str) -> None:
    assert client.get("/nowhere", headers={"X-Forwarded-Prefix": prefix}).json["type"] == "/problems/not_found"


def test_without_a_trusted_proxy_there_is_no_prefix(client: FlaskClient) -> None:
    assert client.get("/nowhere", headers=PREFIXED).json["type"] == "/problems/not_found"


@BEHIND_ONE
@pytest.mark.parametrize(("plainly", "securely"), [("http", "https"), ("HTTP", "HTTPS"), ("wss", " Https")])
def test_what_arrived_over_tls_stays_on_tls(client: FlaskClient, plainly: str, securely: str) -> None:
    """Whatever the case; a scheme that is neither is not believed."""
    plain, secure = (client.get("/api/v1/users", headers={"X-Forwarded-Proto": one}) for one in (plainly, securely))
    assert {one.status_code for one in (plain, secure)} == {401}
    assert "Strict-Transport-Security" not in plain.headers
    assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert {one.headers["X-Content-Type-Options"] for one in (plain, secure)} == {"nosniff"}
