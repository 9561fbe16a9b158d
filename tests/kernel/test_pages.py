"""The pages that people open."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backend.kernel.http.pages import ProblemType, pages_blueprint

TAKEN = ProblemType("email_taken", 409, "E-mail address is taken", "Another <account> uses this address.")
AWAY = ProblemType("unavailable", 503, "Temporarily unavailable", "Nothing was accepted.")
BROKEN = ProblemType("internal_error", 500, "Internal error", "Something went wrong on our side.")


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("test")
    app.register_blueprint(pages_blueprint({problem.code: problem for problem in (AWAY, TAKEN, BROKEN)}))
    return app.test_client()


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/problems", "/problems/", "/problems/email_taken"])
def test_a_page_needs_nothing_from_another_host_and_may_not_ask_for_it(client: FlaskClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert "<style" not in page.text
    assert not re.search(r"<script(?![^>]*src=)", page.text)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|unsafe|\*", policy)


@pytest.mark.parametrize("path", ["/docs", "/problems", "/problems/email_taken"])
def test_every_file_a_page_names_is_served_with_its_type_and_kept_by_the_browser(
    client: FlaskClient, path: str
) -> None:
    addresses = re.findall(r"\"(/docs/static/[^\"]+)\"", client.get(path).text)
    assert addresses
    types = {"css": "text/css", "js": "text/javascript", "png": "image/png"}
    for address in addresses:
        file = client.get(address)
        assert file.status_code == 200
        assert file.mimetype == types[address.partition("?")[0].rpartition(".")[2]]
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert file.cache_control.max_age == 365 * 24 * 3600
        assert file.cache_control.immutable


@pytest.mark.parametrize("query", ["", "?v=an-old-one"])
def test_a_file_asked_for_by_another_address_is_not_kept(client: FlaskClient, query: str) -> None:
    file = client.get(f"/docs/static/docs.js{query}")
    assert file.status_code == 200
    assert file.cache_control.no_cache
    assert client.get("/docs/static/docs.js", headers={"If-None-Match": file.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("name", ["swagger-editor.js", "problem.html", "../pages.py", "..%2fpages.py", ""])
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/static/{name}").status_code == 404


def test_the_documentation_page_reads_our_own_description(client: FlaskClient) -> None:
    assert 'data-spec="/openapi.json"' in client.get("/docs").text
    assert "persistAuthorization: true" in client.get("/docs/static/docs.js").text


def test_a_problems_page_says_what_it_means_and_what_to_do(client: FlaskClient) -> None:
    page = client.get("/problems/email_taken").text
    assert "<h1>E-mail address is taken</h1>" in page
    assert "HTTP 409 Conflict" in page
    assert "Another &lt;account&gt; uses this address." in page
    assert "Show the user what conflicts" in page


def test_a_problem_is_json_when_json_is_asked_for(client: FlaskClient) -> None:
    answer = client.get("/problems/unavailable", headers={"Accept": "application/json"})
    assert answer.json == {
        "type": "/problems/unavailable",
        "code": "unavailable",
        "status": 503,
        "title": "Temporarily unavailable",
        "description": "Nothing was accepted.",
        "advice": AWAY.advice,
    }
    assert "Retry-After" in AWAY.advice
    assert answer.headers["Vary"] == "Accept"


def test_the_list_names_every_problem_by_status(client: FlaskClient) -> None:
    answer = client.get("/problems/", headers={"Accept": "application/json"})
    assert [item["code"] for item in answer.get_json()["items"]] == ["email_taken", "internal_error", "unavailable"]
    page = client.get("/problems/").text
    assert all(f'href="/problems/{code}"' in page for code in ("email_taken", "internal_error", "unavailable"))


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/problem+json", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("image/png", "text/html"),
    ],
)
def test_a_browser_and_curl_see_the_page_and_a_program_gets_json(
    client: FlaskClient, accept: str, mimetype: str
) -> None:
    assert client.get("/problems/email_taken", headers={"Accept": accept}).mimetype == mimetype


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_an_unknown_problem_is_not_found(client: FlaskClient, accept: str) -> None:
    assert client.get("/problems/nothing", headers={"Accept": accept}).status_code == 404


def test_the_root_leads_to_the_documentation(client: FlaskClient) -> None:
    home = client.get("/")
    assert (home.status_code, home.headers["Location"]) == (302, "/docs")


def test_the_documentation_says_where_a_token_comes_from_and_leads_to_the_problems(client: FlaskClient) -> None:
    page = client.get("/docs").text
    assert "POST /api/v1/auth/login" in page
    assert 'href="/problems"' in page


@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        ("idempotency_key_reused", 422, "new Idempotency-Key"),
        ("body_too_large", 413, "64 KiB"),
        ("unsupported_media_type", 415, "as the route documents it"),
        ("validation_failed", 422, "errors"),
        ("request_timeout", 408, "Send the request again"),
        ("unknown_after_restore", 404, "send the command again"),
        ("dead_letter_settled", 409, "Read the dead letter"),
        ("not_replayable", 409, "discard it"),
        ("busy", 503, "Nothing was counted"),
        ("busy", 503, "Retry-After"),
    ],
)
def test_the_advice_fits_the_code_and_not_only_the_status(code: str, status: int, advice: str) -> None:
    assert advice in ProblemType(code, status, "Title", "Description.").advice
