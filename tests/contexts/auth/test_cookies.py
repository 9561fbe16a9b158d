"""Cookie sessions, as a browser has them."""

from __future__ import annotations

from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.client import PASSWORD, Client
from tests.contexts.auth.conftest import Database, Person, Told
from tests.document import undescribed
from tests.inline import InlineQueue
from tests.notes import NOWHERE

LOCAL, PUBLIC = "http://127.0.0.1:8000", "https://api.example.org"
WRITES = {"X-CSRF": "1", "Origin": LOCAL}


class Browser:
    """It keeps cookies, and sends them."""

    def __init__(self, app: Flask, base_url: str = LOCAL, *, keeps: bool = True) -> None:
        self._client = app.test_client(use_cookies=keeps)
        self._base_url = base_url

    def send(self, method: str, path: str, json: Any = None, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self._client.open(f"/api/v1{path}", method=method, json=json, headers=named, base_url=self._base_url)

    def sign_in(self, person: Person) -> TestResponse:
        return self.send("POST", "/auth/login", {"email": person.email, "password": PASSWORD}, X_Session="cookie")

    def write(self, method: str, path: str, json: Any = None, **headers: str) -> TestResponse:
        """As a page of ours does."""
        origin = {"Origin": self._base_url, "X_CSRF": "1", "Prefer": "wait=10"}
        return self.send(method, path, json, **{**origin, **headers})

    @property
    def status(self) -> int:
        return self.send("GET", "/users/me").status_code


def body(answer: TestResponse) -> dict[str, Any]:
    found: dict[str, Any] = answer.get_json()
    return found


def cookies(answer: TestResponse) -> dict[str, Morsel[str]]:
    found: dict[str, Morsel[str]] = {}
    for line in answer.headers.getlist("Set-Cookie"):
        found.update(SimpleCookie(line))
    return found


def attributes(morsel: Morsel[str]) -> dict[str, Any]:
    return {name: value for name, value in morsel.items() if value}


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def signed_in(browser: Browser, ada: Person) -> Browser:
    assert browser.sign_in(ada).status_code == 200
    return browser


def test_a_sign_in_that_asks_for_cookies_has_no_tokens_in_its_answer(browser: Browser, ada: Person) -> None:
    """The same answer without the tokens (`{"expires_in": 900}`)."""
    for path in ("/auth/login", "/auth"):
        answer = browser.send("POST", path, {"email": ada.email, "password": PASSWORD}, X_Session="cookie")
        assert answer.json == {"expires_in": 900}
        assert answer.headers["Cache-Control"] == "no-store"
        assert browser.status == 200


def test_over_tls_the_cookies_have_prefixes_and_every_protection(app: Flask, ada: Person) -> None:
    """`__Host-access` (HttpOnly, Secure, SameSite=Lax, Path=/), `__Secure-refresh` (likewise, Path=/api/v1/auth)."""
    browser = Browser(app, PUBLIC)
    found = cookies(browser.sign_in(ada))
    common = {"httponly": True, "secure": True, "samesite": "Lax"}
    assert {name: attributes(morsel) for name, morsel in found.items()} == {
        "__Host-access": {**common, "path": "/"},
        "__Secure-refresh": {**common, "path": "/api/v1/auth"},
    }
    assert browser.status == 200


@pytest.mark.parametrize("base_url", [LOCAL, "http://localhost", "http://[::1]:8000"])
def test_over_plain_http_on_this_machine_they_have_neither_prefix_nor_secure(
    app: Flask, ada: Person, base_url: str
) -> None:
    browser = Browser(app, base_url)
    found = cookies(browser.sign_in(ada))
    common = {"httponly": True, "samesite": "Lax"}
    assert {name: attributes(morsel) for name, morsel in found.items()} == {
        "access": {**common, "path": "/"},
        "refresh": {**common, "path": "/api/v1/auth"},
    }
    assert browser.status == 200


@pytest.mark.parametrize("base_url", [PUBLIC, "http://192.0.2.7"])
def test_elsewhere_a_cookie_without_a_prefix_proves_nothing(
    app: Flask, client: Client, ada: Person, base_url: str
) -> None:
    """Another host of the same site could have set it."""
    token = client.sign_in(ada.email).json["access_token"]
    assert Browser(app, LOCAL, keeps=False).send("GET", "/users/me", Cookie=f"access={token}").status_code == 200
    assert Browser(app, base_url, keeps=False).send("GET", "/users/me", Cookie=f"access={token}").status_code == 401


def test_nobody_gets_cookies_who_does_not_ask_for_them(browser: Browser, ada: Person) -> None:
    answer = browser.send("POST", "/auth/login", {"email": ada.email, "password": PASSWORD})
    assert "access_token" in body(answer)
    assert cookies(answer) == {}


def test_the_code_of_a_sign_in_brings_cookies_too(
    browser: Browser, ada: Person, database: Database, told: Told, queue: InlineQueue
) -> None:
    database.set_user(ada.id, two_step=True)
    challenged = browser.sign_in(ada)
    assert set(body(challenged)) == {"two_step", "challenge", "expires_in"}
    assert cookies(challenged) == {}
    queue.drain()
    answer = {"challenge": challenged.json["challenge"], "code": told.codes()[-1]}
    assert browser.send("POST", "/auth/verify-code", answer, X_Session="cookie").json == {"expires_in": 900}
    assert browser.status == 200


def test_every_route_takes_the_cookie_in_place_of_a_bearer(signed_in: Browser, ada: Person) -> None:
    assert signed_in.send("GET", "/auth/me").json["id"] == str(ada.id)
    assert signed_in.send("GET", NOWHERE).status_code == 404
    assert signed_in.write("PATCH", "/users/me", {"age": 36}).json["age"] == 36
    assert signed_in.write("POST", "/auth/reauthenticate", {"password": PASSWORD}).json == {"expires_in": 900}
    assert signed_in.send("GET", "/users").status_code == 403


def test_a_bearer_wins(signed_in: Browser, client: Client, register: Any) -> None:
    bob = register()
    token = client.sign_in(bob.email).json["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert signed_in.send("GET", "/users/me", **headers).json["id"] == str(bob.id)
    assert signed_in.send("PATCH", "/users/me", {"age": 36}, Prefer="wait=10", **headers).status_code == 200
    assert signed_in.send("GET", "/users/me", Authorization="Bearer x").status_code == 401


CROSS_SITE: list[dict[str, str]] = [
    {},
    {"X-CSRF": "1"},
    {"Origin": LOCAL},
    {"X-CSRF": "1", "Origin": "https://evil.example"},
    {"X-CSRF": "1", "Origin": "null"},
    {"X-CSRF": "1", "Origin": "http://127.0.0.1:9000"},
    {"X-CSRF": "1", "Origin": f"{LOCAL}.evil.example"},
    {"X-CSRF": "0", "Origin": LOCAL},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_a_write_that_another_site_may_have_sent_is_refused(signed_in: Browser, headers: dict[str, str]) -> None:
    """Unsafe methods by cookie need `X-CSRF: 1` and an `Origin` that is ours: else `403 cross_site`."""
    for method, path, sent in (
        ("PATCH", "/users/me", {"age": 36}),
        ("POST", "/auth/logout", None),
        ("DELETE", "/users/me", None),
        ("PUT", "/auth/profile", {"age": 36}),
        ("POST", "/auth/refresh", None),
    ):
        refused = signed_in.send(method, path, sent, **headers)
        assert (refused.status_code, refused.json["code"]) == (403, "cross_site")
    assert signed_in.send("GET", "/users/me", **headers).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {
            "public_url": "https://api.example.net/base",
            "cors_origins": ("https://app.example.org", "https://*.example.com"),
        }
    ],
    indirect=True,
)
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (LOCAL, 200),
        ("https://api.example.net", 200),
        ("https://app.example.org", 200),
        ("https://shop.example.com", 200),
        ("https://a.b.example.com", 403),
        ("https://example.com", 403),
        ("http://app.example.org", 403),
    ],
)
def test_our_origins_are_our_own_and_those_that_cors_allows(signed_in: Browser, origin: str, status: int) -> None:
    """PUBLIC_URL's origin, the request's own host, or in CORS_ORIGINS."""
    assert signed_in.write("PATCH", "/users/me", {"age": 36}, Origin=origin).status_code == status


@pytest.mark.parametrize("sent", [None, {}])
def test_a_refresh_without_a_body_takes_the_cookie_and_sets_new_ones(browser: Browser, ada: Person, sent: Any) -> None:
    """POST /auth/refresh with an empty body takes the cookie."""
    first = cookies(browser.sign_in(ada))
    answer = browser.write("POST", "/auth/refresh", sent)
    assert (answer.status_code, answer.json) == (200, {"expires_in": 900})
    second = cookies(answer)
    assert second.keys() == first.keys()
    assert all(second[name].value != first[name].value for name in first)
    assert browser.status == 200


def test_a_refresh_without_body_and_cookie_is_what_it_was(browser: Browser) -> None:
    assert browser.send("POST", "/auth/refresh").status_code == 415
    assert browser.send("POST", "/auth/refresh", {}).status_code == 422


def test_a_browser_that_has_dropped_its_cookies_is_told_that_the_session_has_ended(browser: Browser) -> None:
    answer = browser.write("POST", "/auth/refresh")
    assert (answer.status_code, body(answer)["code"]) == (401, "invalid_refresh_token")


def test_a_refresh_token_in_the_body_is_answered_in_the_body(signed_in: Browser, client: Client, ada: Person) -> None:
    token = client.sign_in(ada.email).json["refresh_token"]
    answer = signed_in.send("POST", "/auth/refresh", {"refresh_token": token})
    assert "refresh_token" in body(answer)
    assert cookies(answer) == {}


def test_a_refused_refresh_drops_both_cookies(signed_in: Browser, database: Database) -> None:
    """No script can: they would be sent for ever."""
    database.execute("update sessions set ended_at = now()")
    refused = signed_in.write("POST", "/auth/refresh")
    assert (refused.status_code, refused.json["code"]) == (401, "invalid_refresh_token")
    assert {morsel.value for morsel in cookies(refused).values()} == {""}
    assert len(cookies(refused)) == 2
    assert "WWW-Authenticate" in refused.headers
    assert signed_in.send("GET", NOWHERE).status_code == 404


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all"])
def test_signing_out_drops_both_cookies_and_ends_the_session(
    signed_in: Browser, client: Client, path: str, database: Database
) -> None:
    """Logout clears both."""
    answer = signed_in.write("POST", path)
    assert answer.status_code == 204
    assert {name: morsel.value for name, morsel in cookies(answer).items()} == {"access": "", "refresh": ""}
    assert {morsel["path"] for morsel in cookies(answer).values()} == {"/", "/api/v1/auth"}
    assert signed_in.status == 401
    assert database.execute("select count(*) from sessions where ended_at is null") == [(0,)]


def test_signing_out_by_bearer_sets_no_cookie(client: Client, ada: Person) -> None:
    answer = client.with_token(client.sign_in(ada.email).json["access_token"]).post("/auth/logout")
    assert "Set-Cookie" not in answer.headers


def test_the_document_describes_what_browsers_are_answered(signed_in: Browser, client: Client, ada: Person) -> None:
    """The cookies, and the refusals of a write that another site may have sent."""
    answers = [
        ("auth.login", signed_in.sign_in(ada)),
        ("auth.reauthenticate", signed_in.write("POST", "/auth/reauthenticate", {"password": PASSWORD})),
        ("auth.refresh", signed_in.write("POST", "/auth/refresh", Origin="https://evil.example")),
        ("auth.refresh", signed_in.write("POST", "/auth/refresh")),
        ("auth.logout", signed_in.write("POST", "/auth/logout", X_CSRF="2")),
        ("auth.logout", signed_in.write("POST", "/auth/logout")),
        ("auth.refresh", signed_in.write("POST", "/auth/refresh")),
    ]
    assert [answer.status_code for _, answer in answers] == [200, 200, 403, 200, 403, 204, 401]
    document = client.get("/openapi.json").json
    for name, answer in answers:
        code = body(answer)["code"] if answer.status_code >= 400 else None
        assert undescribed(document, name, answer.status_code, answer.headers.keys(), code) == set(), name


def test_routes_with_credentials_of_their_own_do_not_look_at_cookies(app: Flask, ada: Person) -> None:
    """A stale cookie keeps nobody from signing in, and needs no `Origin` there."""
    browser = Browser(app, keeps=False)
    stale = {"Cookie": "access=stale"}
    assert browser.send("POST", "/auth/login", {"email": ada.email, "password": PASSWORD}, **stale).status_code == 200
    assert browser.send("POST", "/auth/validate-token", {"access_token": "x"}, **stale).json == {"is_valid": False}
    assert browser.send("GET", NOWHERE, **stale).status_code == 401
