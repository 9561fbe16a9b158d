"""The conventions of the HTTP contract, seen from a client, with POST /users as the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO, RawIOBase
from time import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask

from backend.kernel.context import AnyContext
from backend.kernel.http.answers import expected_version
from backend.kernel.http.caller import WITHOUT_ROLE, Authenticate, Caller
from backend.kernel.http.openapi import OperationSchema
from backend.kernel.http.operation_routes import ListedOperationSchema
from backend.kernel.http.operations import ListedOperationView, OperationView
from backend.program import CONTEXTS, Process, Program
from backend.roles import Role
from tests.client import Client, believing
from tests.inline import InlineQueue
from tests.notes import BREAD, MILK, NOTES
from tests.notes import context as notes
from tests.postgres import database_beside
from tests.settings import settings_with

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
USERS = "/api/v1/users"
_NOW = int(time()) + 3600  # proved lately, also at the end of a long run
CALLERS = {
    "ada": Caller(UUID(int=1), UUID(int=11), (), authenticated_at=_NOW),
    "bob": Caller(UUID(int=2), UUID(int=12), ()),
    "admin": Caller(UUID(int=3), UUID(int=13), ("admin",)),
    "other-admin": Caller(UUID(int=4), UUID(int=14), ("admin",)),
}
THIS, OTHER = UUID(int=21), UUID(int=22)


def tag(version: int, resource: UUID = THIS) -> str:
    return f'"{resource}.{version}"'


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (*CONTEXTS, notes)


@pytest.fixture
def authenticate() -> Authenticate:
    return believing(CALLERS)


@pytest.fixture
def other_process(process: Process, queue: InlineQueue, authenticate: Authenticate) -> Iterator[Flask]:
    """A second API process on the same database and queue."""
    other = process.program.process(queue)
    yield other.web(authenticate)
    other.close()


@pytest.fixture
def client(app: Flask) -> Client:
    """Somebody anonymous, who waits for nothing unless it is said."""
    return Client(app, waits=False)


def test_a_command_is_accepted_with_a_handle_and_its_outcome_found_there(client: Client, queue: InlineQueue) -> None:
    accepted = client.post(USERS, ADA)
    assert accepted.status_code == 202
    assert accepted.headers["Retry-After"] == "1"
    assert accepted.headers["Location"] == f"/api/v1/operations/{accepted.json['id']}"
    assert (accepted.json["status"], accepted.json["command"]) == ("pending", "users.create_user")
    assert accepted.json["finished_at"] is accepted.json["error"] is None
    queue.drain()
    operation = client.get(accepted.headers["Location"])
    assert "Retry-After" not in operation.headers
    assert operation.json["status"] == "succeeded"
    assert operation.json["resource"] == accepted.json["resource"]
    assert operation.json["accepted_at"] == accepted.json["accepted_at"]
    assert operation.json["finished_at"].endswith("Z")


def test_a_client_that_waits_gets_what_a_synchronous_api_would_answer(client: Client) -> None:
    created = client.post(USERS, ADA, Prefer="wait=5")
    assert created.status_code == 201
    assert created.headers["Preference-Applied"] == "wait=5"
    assert created.headers["Location"] == f"{USERS}/{created.json['id']}"
    assert created.headers["ETag"] == f'"{created.json["id"]}.1"'
    assert UUID(created.json["id"]).version == 7
    assert "password" not in created.text


def test_a_client_that_waits_gets_the_refusal_itself(client: Client) -> None:
    client.post(USERS, ADA, Prefer="wait=5")
    again = client.post(USERS, ADA, Prefer="wait=5", X_Request_ID="mine")
    assert again.status_code == 409
    assert again.content_type == "application/problem+json"
    assert (again.json["code"], again.json["type"]) == ("email_taken", "/problems/email_taken")
    assert again.json["request_id"] == "mine"


def test_a_failed_operation_carries_the_problem_and_the_request_that_gave_the_command(
    client: Client, queue: InlineQueue
) -> None:
    client.post(USERS, ADA)
    accepted = client.post(USERS, ADA, X_Request_ID="the-command")
    queue.drain()
    operation = client.get(accepted.headers["Location"], X_Request_ID="the-question")
    assert operation.status_code == 200
    assert operation.json["status"] == "failed"
    assert operation.json["error"]["status"] == 409
    assert operation.json["error"]["request_id"] == "the-command"


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("wait=5", 201),
        ("foo; bar, wait=5", 201),
        ("WAIT=5", 201),
        ("wait=0", 202),
        ("wait=5, respond-async", 202),
        ("respond-async", 202),
        ("wait=soon", 202),
        ("return=minimal", 202),
        ("wait=99999999999999999999999", 201),
        ('foo="a, wait=5"', 202),
        ('foo="a,b", wait=5', 201),
        ("wait=-1", 202),
        ("wait=1.5", 202),
    ],
)
def test_preferences_are_read_as_rfc_7240_says(client: Client, prefer: str, status: int) -> None:
    assert client.post(USERS, ADA, Prefer=prefer).status_code == status


def test_a_wait_is_capped_by_the_server(client: Client) -> None:
    created = client.post(USERS, ADA, Prefer="wait=3600")
    assert created.headers["Preference-Applied"] == "wait=10"


@pytest.mark.parametrize("settings", [{"wait_slots": 0}], indirect=True)
def test_without_a_free_slot_a_waiting_client_gets_202(client: Client) -> None:
    assert client.post(USERS, ADA, Prefer="wait=5").status_code == 202


@pytest.mark.parametrize("settings", [{"wait_slots": 2}], indirect=True)
def test_anonymous_callers_who_wait_leave_slots_to_those_who_are_signed_in(client: Client, app: Flask) -> None:
    with app.extensions["api"].waiters.slot(THIS, anonymous=True):
        assert client.post(USERS, ADA, Prefer="wait=5").status_code == 202
        assert client.with_token("admin").post(NOTES, MILK, Prefer="wait=5").status_code == 201
    assert client.post(USERS, {**ADA, "email": "ada@example.net"}, Prefer="wait=5").status_code == 201


def test_a_pending_operation_can_be_waited_for(client: Client, queue: InlineQueue) -> None:
    accepted = client.post(USERS, ADA)
    operation = client.get(accepted.headers["Location"], Prefer="wait=5")
    assert operation.json["status"] == "succeeded"
    assert operation.headers["Preference-Applied"] == "wait=5"


def test_the_same_key_and_body_name_the_same_operation_on_every_process(
    client: Client, other_process: Flask, queue: InlineQueue
) -> None:
    first = client.post(USERS, ADA, Idempotency_Key="k-1")
    spelled_otherwise = '{"password": "correct horse battery",\n "email": "ada@example.com", "name": "Ada"}'
    second = Client(other_process, waits=False).post(
        f"{USERS}/", data=spelled_otherwise, Content_Type="application/json", Idempotency_Key="k-1"
    )
    assert first.status_code == second.status_code == 202
    assert first.json["id"] == second.json["id"]
    queue.drain()
    assert client.get(first.headers["Location"]).json["status"] == "succeeded"
    waited = client.post(USERS, ADA, Idempotency_Key="k-1", Prefer="wait=5")
    assert waited.status_code == 201


def test_a_repeated_request_for_what_is_done_says_so_and_publishes_nothing(client: Client, queue: InlineQueue) -> None:
    admin = client.with_token("admin")
    first = admin.post(NOTES, MILK, Idempotency_Key="k-1")
    queue.drain()
    sent = len(queue.sent)
    again = admin.post(NOTES, MILK, Idempotency_Key="k-1")
    assert (again.status_code, again.json["status"], again.json["id"]) == (202, "succeeded", first.json["id"])
    assert again.json["accepted_at"] == admin.get(first.headers["Location"]).json["accepted_at"]
    assert len(queue.sent) == sent


def test_a_reused_key_is_refused_at_once_when_the_first_is_done(client: Client, queue: InlineQueue) -> None:
    admin = client.with_token("admin")
    admin.post(NOTES, MILK, Idempotency_Key="k-1")
    queue.drain()
    assert admin.post(NOTES, BREAD, Idempotency_Key="k-1").status_code == 422


@pytest.mark.parametrize(
    ("if_match", "version"),
    [
        (None, None),
        ("*", None),
        (tag(3), 3),
        (f"{tag(1)}, {tag(3)}", 3),
        (f"{tag(5, OTHER)}, {tag(3)}", 3),
        (tag(3, OTHER), -1),
        (f"W/{tag(3)}", -1),
        ('"3"', -1),
        (f'"{THIS}.-3"', -1),
        (f'"{THIS}.3-part"', -1),
        ('"x"', -1),
        ('""', -1),
        ("3", -1),
        ("", -1),
        ('"1', -1),
        ('"a" "b"', -1),
        (f"*, {tag(1)}", -1),
    ],
)
def test_a_condition_never_becomes_an_unconditional_write_nor_meets_another_resource(
    app: Flask, if_match: str | None, version: int | None
) -> None:
    app.add_url_rule("/expected-version", view_func=lambda: str(expected_version(THIS)))
    assert Client(app).open("GET", "/expected-version", {"If-Match": if_match}).text == str(version)


def test_a_key_is_the_callers_own(client: Client) -> None:
    handles = {
        client.with_token(who).post(NOTES, MILK, Idempotency_Key="k-1").json["id"] for who in ("admin", "other-admin")
    }
    assert len(handles) == 2


def test_a_signed_in_callers_key_with_another_body_is_refused_and_the_first_untouched(
    client: Client, queue: InlineQueue
) -> None:
    admin = client.with_token("admin")
    first = admin.post(NOTES, MILK, Idempotency_Key="k-1")
    queue.drain()
    second = admin.post(NOTES, BREAD, Idempotency_Key="k-1", Prefer="wait=5")
    assert (second.status_code, second.json["code"]) == (422, "idempotency_key_reused")
    assert second.json["errors"][0]["parameter"] == "Idempotency-Key"
    assert admin.get(first.headers["Location"]).json["status"] == "succeeded"


def test_an_anonymous_key_with_another_body_is_another_operation(client: Client) -> None:
    for body in (ADA, {**ADA, "email": "eve@example.com"}):
        assert client.post(USERS, body, Idempotency_Key="k-1", Prefer="wait=5").status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "é"])
def test_a_malformed_key_is_refused(client: Client, key: str) -> None:
    refused = client.post(USERS, ADA, Idempotency_Key=key)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["parameter"] == "Idempotency-Key"


def test_a_signed_in_callers_operation_is_seen_by_them_and_by_admins_only(client: Client) -> None:
    location = client.with_token("ada").patch(f"{USERS}/me", {"age": 36}).headers["Location"]
    assert client.with_token("ada").get(location).status_code == 200
    assert client.with_token("admin").get(location).status_code == 200
    assert client.with_token("bob").get(location).status_code == 404
    assert client.get(location).status_code == 404


def test_a_handle_of_somebody_anonymous_is_a_capability(client: Client) -> None:
    location = client.post(USERS, ADA).headers["Location"]
    assert client.with_token("bob").get(location).status_code == 200


def test_a_forged_or_truncated_handle_is_not_found(client: Client) -> None:
    handle = client.post(USERS, ADA).json["id"]
    for forged in (handle[:-1], "A" + handle[1:], f"{handle}A", "x", str(uuid4())):
        assert client.get(f"/api/v1/operations/{forged}").status_code == 404


def test_a_command_is_spooled_while_the_broker_is_away(client: Client, queue: InlineQueue) -> None:
    queue.down = True
    accepted = client.post(USERS, ADA)
    assert accepted.status_code == 202
    assert client.get(accepted.headers["Location"]).json["status"] == "pending"


def test_with_broker_and_database_away_nothing_is_accepted() -> None:
    queue = InlineQueue()
    queue.down = True
    settings = settings_with(database_url="postgresql://127.0.0.1:1/none", publish_deadline=0.5)
    process = Program(settings).process(queue)
    refused = Client(process.web()).post(USERS, ADA)
    process.close()
    assert (refused.status_code, refused.json["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b"x" * (64 * 1024 + 1), "text/plain", 415),
        (b"x" * (64 * 1024 + 1), "application/json", 413),
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b"[" * 100_0, "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b"{}", "application/json; charset=utf-8", 422),
    ],
)
def test_a_body_is_checked_in_the_order_of_the_contract(
    client: Client, body: bytes, content_type: str, status: int
) -> None:
    refused = client.post(USERS, data=body, Content_Type=content_type)
    assert refused.status_code == status
    assert refused.content_type == "application/problem+json"
    assert refused.json["status"] == status


class Endless(RawIOBase):
    """A body of which nobody has said how long it is. It ends all the same, or a test would not."""

    read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = min(len(buffer), 1024 * 1024 - self.read_bytes)
        buffer[:part] = b" " * part
        self.read_bytes += part
        return part


_CHUNKED = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
_READ_OR_NOT = [("POST", USERS), ("DELETE", f"{USERS}/me"), ("GET", f"{USERS}/me")]


@pytest.mark.parametrize(("method", "path"), _READ_OR_NOT)
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}], ids=["", "under a key"])
def test_a_large_body_of_unknown_length_is_refused_and_no_more_of_it_read_than_may_be(
    client: Client, method: str, path: str, key: dict[str, str]
) -> None:
    body = Endless()
    answer = client.with_token("ada").open(method, path, {**_CHUNKED, **key}, _streamed(body))
    assert answer.status_code == 413
    assert body.read_bytes <= 64 * 1024 + 1


@pytest.mark.parametrize(("method", "path", "status"), [("POST", USERS, 422), ("DELETE", f"{USERS}/me", 202)])
def test_a_body_of_unknown_length_may_have_64_kib(client: Client, method: str, path: str, status: int) -> None:
    body = BytesIO(b"{}".ljust(64 * 1024))
    assert client.with_token("ada").open(method, path, _CHUNKED, _streamed(body)).status_code == status


def _streamed(body: BytesIO | Endless) -> dict[str, Any]:
    return {"wsgi.input": body, "wsgi.input_terminated": True}


def test_a_large_body_is_refused_where_only_its_fingerprint_counts(client: Client) -> None:
    body = b" " * (64 * 1024 + 2)
    assert client.with_token("ada").delete(f"{USERS}/me", data=body, Idempotency_Key="k").status_code == 413


@pytest.mark.parametrize(("token", "encoding", "status"), [("ada", None, 413), ("ada", "gzip", 415), (None, None, 401)])
def test_a_large_body_is_refused_where_none_is_read(
    client: Client, token: str | None, encoding: str | None, status: int
) -> None:
    for path in ("/auth/logout", "/auth/logout-all"):
        answer = client.with_token(token).post(path, data=b" " * (64 * 1024 + 1), Content_Encoding=encoding)
        assert answer.status_code == status


def test_a_large_body_is_reported_after_a_missing_role(client: Client) -> None:
    path = f"{USERS}/{uuid4()}/activate"
    assert client.with_token("ada").post(path, data=b" " * (64 * 1024 + 1)).status_code == 403


def test_every_reason_is_listed_with_its_pointer(client: Client) -> None:
    refused = client.post(USERS, {"email": "nobody", "password": "short", "age": "5", "admin": True})
    assert refused.json["code"] == "validation_failed"
    pointers = {error["pointer"] for error in refused.json["errors"]}
    assert pointers == {"/email", "/age", "/admin", "/password", "/name"}


def test_a_bad_password_is_listed_beside_other_reasons(client: Client) -> None:
    refused = client.post(USERS, {"email": "bad", "password": "short"})
    assert {error["pointer"] for error in refused.json["errors"]} == {"/email", "/password", "/name"}


def test_what_only_the_whole_body_shows_is_listed_too(client: Client) -> None:
    refused = client.post(USERS, {"email": "ada@example.com", "password": "password", "last_name": "L"})
    assert {error["pointer"] for error in refused.json["errors"]} == {"/password", "/first_name"}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1_0", "limit"),
        ("cursor=forged", "cursor"),
        ("no=1", "no"),
    ],
)
def test_a_bad_query_names_its_parameter(client: Client, query: str, parameter: str) -> None:
    refused = client.with_token("admin").get(f"{USERS}?{query}")
    assert refused.status_code == 422
    assert [error["parameter"] for error in refused.json["errors"]] == [parameter]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/users/not-an-id", 404, "not_found"),
        ("DELETE", "/api/v1/operations/x", 405, "method_not_allowed"),
        ("PATCH", "/api/v1/users", 405, "method_not_allowed"),
    ],
)
def test_errors_of_the_router_are_problems_too(client: Client, method: str, path: str, status: int, code: str) -> None:
    refused = client.open(method, path, {"Authorization": "Bearer bad"})
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert ("Allow" in refused.headers) == (status == 405)


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"app_env": "production"}, "An internal error. It has been logged under the request id."),
        ({"app_env": "development"}, "RuntimeError: select password_hash from users"),
    ],
    indirect=["settings"],
)
def test_a_fault_is_a_problem_whose_text_only_development_shows(app: Flask, detail: str) -> None:
    app.testing = False

    def broken() -> str:
        raise RuntimeError("select password_hash from users")

    app.add_url_rule("/broken", view_func=broken)
    refused = Client(app).open("GET", "/broken")
    assert (refused.status_code, refused.json["code"], refused.json["detail"]) == (500, "internal_error", detail)


@pytest.mark.parametrize("header", ["Bearer bad", "Bearer", "Basic YTpi", "bad"])
def test_a_bad_token_is_refused_on_open_routes_too(client: Client, header: str) -> None:
    refused = client.get(f"/notes/{THIS}", Authorization=header)
    assert (refused.status_code, refused.json["code"]) == (401, "invalid_token")
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    "path",
    [
        "/users",
        "/auth",
        "/auth/login",
        "/auth/verify-code",
        "/auth/resend-code",
        "/auth/refresh",
        "/auth/register",
        "/auth/forgot-password",
        "/auth/reset-password",
        "/auth/verify-email",
        "/auth/resend-verification",
        "/auth/validate-token",
    ],
)
def test_what_takes_its_own_credentials_or_none_does_not_look_at_a_token(client: Client, path: str) -> None:
    document = client.get("/openapi.json").json["paths"][f"/api/v1{path}"]["post"]
    assert document["security"] == []
    for authorization in ("Bearer stale", "Bearer ada", "Basic YTpi"):
        assert client.post(path, {}, Authorization=authorization).status_code == 422


def test_who_registers_with_a_token_holds_a_handle_like_anybody(client: Client) -> None:
    location = client.with_token("ada").post(USERS, ADA).headers["Location"]
    assert client.get(location).status_code == 200


def test_the_document_says_where_a_token_is_needed_taken_or_not_looked_at(client: Client) -> None:
    paths = client.get("/openapi.json").json["paths"]
    assert paths[USERS]["get"]["security"] == [{"bearer": []}, {"cookie": []}]
    assert paths[f"{NOTES}/{{note_id}}"]["get"]["security"] == [{}, {"bearer": []}, {"cookie": []}]
    assert "401" not in paths[USERS]["post"]["responses"]
    assert "401" in paths["/api/v1/auth/login"]["post"]["responses"]


@pytest.mark.parametrize("path", ["/users/me", "/users", f"/notes/{THIS}", "/audit", "/operations/x"])
def test_what_is_asked_for_with_credentials_is_kept_by_nobody(client: Client, path: str) -> None:
    answers = [client.with_token(token).get(path) for token in ("admin", "nobody")]
    for answer in (
        *answers,
        client.open("GET", f"/api/v1{path}", environ={"HTTP_COOKIE": "__Host-access=x"}),
    ):
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Authorization, Cookie" in answer.headers.getlist("Vary")


def test_what_anybody_sees_is_asked_for_again_each_time(client: Client) -> None:
    for path in (f"{NOTES}/{THIS}", "/nowhere"):
        answer = client.open("GET", path)
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "Authorization, Cookie" in answer.headers.getlist("Vary")


def test_what_carries_a_handle_or_a_new_account_is_kept_by_nobody(client: Client) -> None:
    accepted = client.post(USERS, ADA)
    operation = client.get(accepted.headers["Location"])
    created = client.post(USERS, {**ADA, "email": "eve@example.com"}, Prefer="wait=5")
    assert {answer.headers["Cache-Control"] for answer in (accepted, operation, created)} == {"no-store"}


def test_who_may_call_is_asked_before_the_query_is_read(client: Client) -> None:
    assert client.get(f"{USERS}?limit=x").status_code == 401
    assert client.with_token("ada").get(f"{USERS}?limit=x").status_code == 403
    assert client.with_token("admin").get(f"{USERS}?limit=x").status_code == 422


@pytest.mark.parametrize("path", ["/users", "/users/"])
def test_a_trailing_slash_is_the_same_resource(client: Client, path: str) -> None:
    assert client.post(f"/api/v1{path}", ADA).status_code == 202


def test_a_sane_request_id_is_taken_and_another_replaced(client: Client) -> None:
    assert client.get("/health/live", X_Request_ID="a.B-9_").headers["X-Request-ID"] == "a.B-9_"
    for insane in ("", "a b", "x" * 129, "é", "a,b"):
        given = client.open("GET", "/nowhere", {"X-Request-ID": insane})
        assert given.headers["X-Request-ID"] == given.json["request_id"] != insane


def test_request_id_and_trace_travel_with_the_command(client: Client, queue: InlineQueue) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    client.post(USERS, ADA, X_Request_ID="r-1", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert queue.sent[0].headers.request_id == "r-1"
    assert queue.sent[0].headers.traceparent.split("-")[1] == trace


@pytest.mark.parametrize("path", ["/users", "/auth/login", "/auth/logout", NOTES, f"/users/{UUID(int=5)}/activate"])
@pytest.mark.parametrize(
    "encoding",
    [{"Content_Encoding": one} for one in ("gzip", "br", "gzip, identity")] + [{"Transfer_Encoding": "gzip, chunked"}],
)
def test_an_encoded_body_is_415_and_told_what_is_read(client: Client, path: str, encoding: dict[str, str]) -> None:
    headers = {**encoding, "Content_Type": "application/json"}
    refused = client.with_token("admin").post(path, data=b"\x1f\x8b", **headers)
    assert (refused.status_code, refused.headers["Accept-Encoding"]) == (415, "identity")
    assert client.post(NOTES, data=b"{", **headers).status_code == 401


def test_health_names_each_dependency(client: Client, queue: InlineQueue) -> None:
    assert client.get("/health/live").status_code == 200
    up = {"database": "up", "replica": "up", "broker": "up"}
    assert client.get("/health/ready").json == {"status": "ok", **up, "reads": "database", "commands": "broker"}
    queue.down = True
    degraded = client.get("/health/ready")
    assert degraded.status_code == 200
    assert degraded.json == {"status": "degraded", **up, "broker": "down", "reads": "database", "commands": "spool"}


@pytest.mark.parametrize("settings", [{"spool_limit": 1}], indirect=True)
def test_a_full_spool_takes_no_commands_but_reads_go_on(client: Client, queue: InlineQueue) -> None:
    queue.down = True
    client.with_token("ada").patch("/users/me", {"age": 36})
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json["reads"], ready.json["commands"]) == (200, "database", "none")


def test_an_api_whose_database_is_away_is_ready_while_the_broker_takes_commands() -> None:
    queue = InlineQueue()
    process = Program(settings_with(database_url="postgresql://127.0.0.1:1/none")).process(queue)
    client = Client(process.web())
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json["status"]) == (200, "degraded")
    assert (ready.json["database"], ready.json["reads"], ready.json["commands"]) == ("down", "none", "broker")
    queue.down = True
    refused = client.get("/health/ready")
    assert (refused.status_code, refused.content_type) == (503, "application/problem+json")
    assert (refused.json["code"], refused.json["broker"], refused.json["commands"]) == ("unavailable", "down", "none")
    assert int(refused.headers["Retry-After"]) >= 1
    process.close()


def test_an_api_whose_database_is_not_migrated_says_so(database_url: str) -> None:
    with database_beside(database_url, "not_migrated") as empty:
        process = Program(settings_with(database_url=empty)).process(InlineQueue())
        client = Client(process.web())
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json["database"], ready.json["reads"]) == (200, "down", "none")
        assert "alembic upgrade heads" in ready.json["reason"]
        refused = client.post("/auth/login", {"email": "ada@example.com", "password": "correct horse battery"})
        assert (refused.status_code, refused.json["code"]) == (503, "unavailable")
        figures = client.get("/metrics").text
        assert ("backlog_up 0.0" in figures, "broker_up 1.0" in figures) == (True, True)
        process.close()


def test_figures_tell_what_was_accepted(client: Client, queue: InlineQueue) -> None:
    client.post(USERS, ADA)
    queue.drain()
    figures = client.get("/metrics").text
    assert 'commands_accepted_total{command="users.create_user",way="broker"}' in figures
    assert "backlog_up 1.0" in figures


TOKEN = "metrics-" + "m" * 40


@pytest.mark.parametrize(
    "settings", [{"metrics_token": TOKEN}, {"metrics_token": TOKEN, "app_env": "production"}], indirect=True
)
def test_figures_are_for_whoever_has_the_token(client: Client) -> None:
    assert client.with_token(TOKEN).get("/metrics").status_code == 200
    for token in (None, f"{TOKEN}x", "admin"):
        assert client.with_token(token).get("/metrics").status_code == 401


@pytest.mark.parametrize("settings", [{"app_env": "production"}], indirect=True)
def test_production_shows_no_figures_without_a_token(client: Client) -> None:
    assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize("path", ["//metrics", "///docs", "//health/live", "//api/v1/users", "/api/v1//users"])
def test_a_path_has_one_spelling(client: Client, path: str) -> None:
    assert client.open("GET", "/", environ={"PATH_INFO": path}).status_code == 404


@pytest.mark.parametrize("header", ["Accept", "Content-Type", "X-Anything", "If-None-Match", "Prefer"])
def test_a_header_has_a_bound(client: Client, header: str) -> None:
    refused = client.open("GET", "/problems", {header: "text/html, " * 2000})
    assert (refused.status_code, refused.json["code"]) == (431, "headers_too_large")
    assert client.open("GET", "/problems", {header: "text/html, " * 200}).status_code == 200


def test_every_route_says_who_may_call_it(app: Flask) -> None:
    undeclared = []
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        view_class = getattr(app.view_functions[rule.endpoint], "view_class", None)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            view = getattr(view_class, method.lower(), app.view_functions[rule.endpoint])
            if getattr(view, "_apidoc", {}).get("access") not in (*WITHOUT_ROLE, *Role):
                undeclared.append(f"{method} {rule.rule}")
    assert undeclared == []


def test_the_openapi_document_is_valid_and_shows_every_route_with_its_errors(client: Client) -> None:
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    post = document["paths"]["/api/v1/users"]["post"]
    assert {"201", "202", "400", "409", "413", "415", "422", "500", "503"} <= post["responses"].keys()
    assert "email_taken" in post["responses"]["409"]["content"]["application/problem+json"]["examples"]
    assert {"Prefer", "Idempotency-Key"} <= {parameter["name"] for parameter in post["parameters"]}


def test_the_document_shows_the_fields_of_an_operation() -> None:
    assert set(OperationView.__dataclass_fields__) == set(OperationSchema().fields)
    assert set(ListedOperationView.__dataclass_fields__) == set(ListedOperationSchema().fields)
