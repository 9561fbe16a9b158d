"""Pages of other origins, as a browser asks on their behalf."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backend.kernel.http.origins import is_origin

APP = "https://app.example.com"
USERS = "/api/v1/users"
SHARED = pytest.mark.parametrize(
    "settings", [{"cors_origins": (APP, "https://*.example.org", "http://*.dev.example.org:3000")}], indirect=True
)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def named(header: str) -> set[str]:
    return {name.strip() for name in header.split(",")}


@SHARED
@pytest.mark.parametrize("path", ["/health/live", "/nowhere", USERS, "/docs"])
def test_a_page_of_an_allowed_origin_reads_every_answer(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Origin": APP})
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in answer.vary
    assert named(answer.headers["Access-Control-Expose-Headers"]) == {
        *("Location", "Retry-After", "ETag", "Link", "X-Request-ID", "Preference-Applied"),
        *("Content-Disposition", "WWW-Authenticate", "Allow"),
    }


@SHARED
@pytest.mark.parametrize("path", [USERS, "/nowhere"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_page_may_send_what_the_contract_knows(client: FlaskClient, path: str, method: str) -> None:
    asked = {"Origin": APP, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "baggage"}
    answer = client.options(path, headers=asked)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert method in named(answer.headers["Access-Control-Allow-Methods"])
    assert named(answer.headers["Access-Control-Allow-Headers"]) >= {
        *("Authorization", "Content-Type", "Prefer", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID"),
        *("X-CSRF", "traceparent", "tracestate", "baggage"),
    }


@SHARED
@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com.evil.net",
        "https://xexample.org",
        "https://xexample.org.evil.net",
        "https://example.org",
        "https://a.b.example.org",
        "https://evil.net/.example.org",
        "https://evil.net#.example.org",
        "https://.example.org",
        "https://*.example.org",
        "http://a.example.org",
        "https://a.example.org:8443",
        "https://A.example.org",
        "http://a.dev.example.org",
        "null",
        "",
    ],
)
def test_a_page_of_any_other_origin_is_told_nothing(client: FlaskClient, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (client.get("/health/live", headers={"Origin": origin}), client.options(USERS, headers=asked)):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.vary


@SHARED
@pytest.mark.parametrize(
    "origin", ["https://a.example.org", "https://a-1.example.org", "http://x.dev.example.org:3000"]
)
def test_a_star_stands_for_one_label(client: FlaskClient, origin: str) -> None:
    answer = client.get("/health/live", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("https://app.example.org", True),
        ("http://localhost:5173", True),
        ("http://127.0.0.1:3000", True),
        ("http://[::1]:3000", True),
        ("capacitor://localhost", True),
        ("https://*.example.org", True),
        ("https://*.example.org:8443", True),
        ("*", False),
        ("https://*", False),
        ("https://*.org", False),
        ("https://*.*.example.org", False),
        ("https://app.*.example.org", False),
        ("https://app-*.example.org", False),
        ("https://*example.org", False),
        ("https://app.example.org/", False),
        ("https://app.example.org/path", False),
        ("https://App.example.org", False),
        ("https://user@app.example.org", False),
        ("https://app.example.org:443", False),
        ("http://app.example.org:80", False),
        ("http://app.example.org:65535", True),
        ("http://app.example.org:65536", False),
        ("app.example.org", False),
        ("https://.*\\.example\\.org", False),
        ("null", False),
    ],
)
def test_an_origin_is_exact_or_has_a_star_for_its_first_label(text: str, good: bool) -> None:  # noqa: FBT001
    assert is_origin(text) is good
