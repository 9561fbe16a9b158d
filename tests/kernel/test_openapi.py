"""The OpenAPI document, as a generator of clients and a reader of examples need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from backend.kernel.http.caller import Authenticate, Caller
from backend.kernel.http.problems import http_problem
from tests.client import Client, believing
from tests.document import codes, operations, undescribed

SOMEBODY = str(UUID(int=5))


@pytest.fixture
def authenticate() -> Authenticate:
    return believing({"admin": Caller(UUID(int=3), UUID(int=13), ("admin",))})


@pytest.fixture
def admin(app: Flask) -> Client:
    return Client(app, "admin", waits=False)


@pytest.fixture
def document(admin: Client) -> dict[str, Any]:
    answer: dict[str, Any] = admin.get("/openapi.json").json
    return answer


def test_every_operation_has_a_name_of_its_own_that_a_client_can_bear(document: dict[str, Any]) -> None:
    names = Counter(operation["operationId"] for _, _, operation in operations(document))
    assert max(names.values()) == 1
    assert {
        *("users.create", "users.list", "users.get", "users.me.get", "users.me.update", "users.roles"),
        *("auth.login", "auth.refresh", "auth.verifyCode", "auth.sessions.list", "auth.sessions.delete"),
        *("operations.list", "operations.get", "operations.cancel", "deadLetters.replay", "deadLetters.replayGroup"),
    } <= names.keys()


def test_the_words_of_a_status_are_those_of_the_standard_on_every_python(document: dict[str, Any]) -> None:
    """RFC 9110. Python's own changed with 3.13, and clients are generated from the document."""
    described = {
        (status, answer["description"])
        for _, _, operation in operations(document)
        for status, answer in operation["responses"].items()
        if status in ("413", "422")
    }
    assert described == {("413", "Content Too Large"), ("422", "Unprocessable Content")}
    assert http_problem(414, "")["code"] == "uri_too_long"


def test_an_alias_is_deprecated(document: dict[str, Any]) -> None:
    deprecated = {operation["operationId"] for _, _, operation in operations(document) if operation.get("deprecated")}
    assert deprecated == {"auth.signIn", "auth.register", "auth.me", "auth.profile"}


def test_everything_that_is_referred_to_is_there_and_everything_there_is_referred_to(document: dict[str, Any]) -> None:
    kinds = ("schemas", "responses", "headers")
    there = {f"#/components/{kind}/{name}" for kind in kinds for name in document["components"].get(kind, ())}
    assert set(references(document)) == there


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [value] if key == "$ref" else references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_a_command_leads_to_its_operation(document: dict[str, Any]) -> None:
    accepted = document["paths"]["/api/v1/users"]["post"]["responses"]["202"]
    assert accepted["links"]["operation"]["operationId"] == "operations.get"
    assert {"Location", "Retry-After", "X-Request-ID"} <= accepted["headers"].keys()


def test_every_answer_names_the_codes_of_its_problems(document: dict[str, Any]) -> None:
    answers = document["paths"]["/api/v1/users/me"]["patch"]["responses"]
    assert {"validation_failed", "idempotency_key_reused"} <= codes(answers["422"])
    assert "username_taken" in codes(answers["409"])
    assert codes(answers["412"]) == {"stale_version"}


def test_the_document_describes_every_header_of_an_answer(document: dict[str, Any], admin: Client) -> None:
    new = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
    accepted = admin.post("/users", new)
    location = accepted.headers["Location"]
    answers = [
        ("users.create", accepted),
        ("operations.get", admin.get(location)),
        ("operations.get", admin.get(location, Prefer="wait=5")),
        ("users.create", admin.post("/users", new, Prefer="wait=5")),
        ("users.activate", admin.post(f"/users/{SOMEBODY}/activate", Prefer="wait=5")),
        ("users.list", admin.get("/users", {"limit": "1"})),
        ("users.list", admin.get("/users", {"cursor": "forged"})),
        ("users.create", admin.post("/users", new, Content_Encoding="gzip")),
        ("users.create", admin.post("/users", data="x", Content_Type="text/plain")),
        ("users.list", admin.with_token("unknown").get("/users")),
    ]
    assert [answer.status_code for _, answer in answers] == [202, 200, 200, 409, 404, 200, 422, 415, 415, 401]
    for name, answer in answers:
        code = answer.json["code"] if answer.status_code >= 400 else None
        assert undescribed(document, name, answer.status_code, answer.headers.keys(), code) == set(), name


def test_a_version_of_a_resource_has_an_etag_and_that_of_the_program_has_none(document: dict[str, Any]) -> None:
    tagged = {one["operationId"] for _, _, one in operations(document) if "304" in one["responses"]}
    assert {"users.get", "users.me.get"} <= tagged
    assert "about" not in tagged
    assert "ETag" not in document["paths"]["/api/v1/about"]["get"]["responses"]["200"]["headers"]


def test_the_document_says_who_may_read_what_a_registration_made(document: dict[str, Any]) -> None:
    assert "signed in" in document["paths"]["/api/v1/users"]["post"]["description"]


def test_every_code_in_the_document_has_a_page(document: dict[str, Any], admin: Client) -> None:
    named = {
        code
        for _, _, operation in operations(document)
        for response in operation["responses"].values()
        if "application/problem+json" in response.get("content", {})
        for code in codes(response)
    }
    pages = {one["code"] for one in admin.open("GET", "/problems", {"Accept": "application/json"}).json["items"]}
    assert named <= pages


def test_the_document_says_what_a_field_may_be(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["NewUser"]["properties"]
    assert (fields["username"]["minLength"], fields["username"]["pattern"]) == (3, "^[A-Za-z0-9_.-]+$")
    assert (fields["password"]["minLength"], fields["password"]["maxLength"]) == (8, 128)
    assert (fields["age"]["minimum"], fields["age"]["maximum"]) == (0, 150)


def test_the_answers_to_a_sign_in_are_told_apart_by_a_constant_field(document: dict[str, Any]) -> None:
    answers = document["paths"]["/api/v1/auth/login"]["post"]["responses"]["200"]
    kinds = answers["content"]["application/json"]["schema"]["oneOf"]
    schemas = [document["components"]["schemas"][kind["$ref"].rpartition("/")[2]] for kind in kinds]
    assert [schema["properties"]["two_step"]["enum"] for schema in schemas] == [[False], [False], [True]]
    assert ["two_step" in schema["required"] for schema in schemas] == [False, False, True]


def test_only_an_operation_has_a_command(document: dict[str, Any]) -> None:
    """So a client that waited knows whether it was answered with the resource, or with an operation under way."""
    for _, _, operation in operations(document):
        answers = operation["responses"]
        if any(parameter.get("name") == "Idempotency-Key" for parameter in operation.get("parameters", ())):
            found = {
                status: "command" in schema_of(document, answers[status])["required"]
                for status in ("200", "201", "202")
                if status in answers
            }
            assert found == {status: status == "202" for status in found}, operation["operationId"]


def schema_of(document: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    reference: str = answer["content"]["application/json"]["schema"]["$ref"]
    schema: dict[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def test_every_example_of_a_body_is_accepted_as_it_stands(document: dict[str, Any], admin: Client) -> None:
    refused = {}
    for method, path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            url = path
            for parameter in operation.get("parameters", ()):
                url = url.replace(f"{{{parameter['name']}}}", SOMEBODY)
            answer = admin.open(method.upper(), url, json=example["value"])
            # What it names may not exist, or a link be no link: another code tells that than that of a bad value.
            if answer.status_code >= 400 and answer.json["code"] in ("bad_request", "validation_failed"):
                refused[operation["operationId"]] = answer.json
    assert refused == {}


def test_the_document_is_asked_for_again_and_sent_once(app: Flask) -> None:
    client = Client(app)
    document = client.get("/openapi.json")
    assert document.headers["Cache-Control"] == "no-cache"
    assert client.get("/openapi.json", If_None_Match=document.headers["ETag"]).status_code == 304
