"""Operations as their owner sees them: listed, cancelled, and kept for 30 days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext
from backend.kernel.delivery import inbox
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.operations import listed
from backend.kernel.http import operations
from backend.kernel.http.caller import Authenticate, Caller
from backend.kernel.http.operations import Handle, day_of
from backend.program import CONTEXTS, Process
from tests.client import Client, believing
from tests.inline import InlineQueue
from tests.notes import BREAD, MILK
from tests.notes import context as notes

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
CALLERS = {
    "ada": Caller(UUID(int=1), UUID(int=11), ()),
    "bob": Caller(UUID(int=2), UUID(int=12), ()),
    "admin": Caller(UUID(int=3), UUID(int=13), ("admin",)),
    "other-admin": Caller(UUID(int=4), UUID(int=14), ("admin",)),
}
Sql = Callable[..., list[Any]]


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (*CONTEXTS, notes)


@pytest.fixture
def authenticate() -> Authenticate:
    return believing(CALLERS)


@pytest.fixture
def client(app: Flask) -> Client:
    """Somebody anonymous, who waits for nothing unless it is said."""
    return Client(app, waits=False)


@pytest.fixture
def ada(client: Client) -> Client:
    return client.with_token("ada")


@pytest.fixture
def admin(client: Client) -> Client:
    return client.with_token("admin")


@pytest.fixture
def sql(clean_database: str) -> Iterator[Sql]:
    """Run a statement; for what no caller can bring about, such as time."""
    with psycopg.connect(clean_database, autocommit=True) as connection:

        def run(statement: str, *values: Any) -> list[Any]:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

        yield run


def ids(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/operations{query}")
    assert answer.status_code == 200, answer.json
    return [item["id"] for item in answer.json["items"]]


def test_somebody_sees_their_own_operations_newest_first(client: Client, ada: Client, queue: InlineQueue) -> None:
    handles = []
    for age in (36, 37):
        handles.append(ada.patch("/users/me", {"age": age}).json["id"])
        queue.drain()
    client.with_token("bob").patch("/users/me", {"age": 38})
    client.post("/users", ADA)
    queue.drain()
    assert ids(ada) == handles[::-1]
    item = ada.get("/operations").json["items"][0]
    shown = ada.get(f"/operations/{handles[1]}").json
    assert item == shown
    assert client.get("/operations").status_code == 401


def test_what_waits_in_the_spool_is_listed_as_pending_and_once(ada: Client, queue: InlineQueue) -> None:
    queue.down = True
    accepted = ada.patch("/users/me", {"age": 36}, Idempotency_Key="k-1").json
    (item,) = ada.get("/operations").json["items"]
    assert (item["id"], item["status"], item["finished_at"]) == (accepted["id"], "pending", None)
    assert item["accepted_at"]
    queue.down = False
    queue.sweep()
    (item,) = ada.get("/operations").json["items"]
    assert (item["id"], item["status"]) == (accepted["id"], "failed")


def test_the_listing_is_filtered(ada: Client, admin: Client, queue: InlineQueue) -> None:
    failed = ada.patch("/users/me", {"age": 36}).json
    queue.drain()
    done = admin.post("/notes", MILK, X_Request_ID="r-1").json
    queue.drain()
    assert ids(admin, "?status=succeeded") == [done["id"]]
    assert ids(admin, "?status=failed") == [failed["id"]]
    assert ids(admin, "?status=pending") == []
    assert ids(admin, "?command=notes.write_note") == [done["id"]]
    assert ids(admin, f"?resource={done['resource']}") == [done["id"]]
    assert ids(ada, f"?resource={done['resource']}") == []
    assert ids(admin, f"?since={done['accepted_at']}") == [done["id"]]
    assert ids(admin, f"?actor={UUID(int=1)}") == [failed["id"]]
    assert ids(admin, "?request_id=r-1") == [done["id"]]
    item = admin.get("/operations?request_id=r-1").json["items"][0]
    assert (item["actor"], item["request_id"]) == (str(UUID(int=3)), "r-1")
    assert "actor" not in ada.get("/operations").json["items"][0]


@pytest.mark.parametrize("query", ["actor=00000000-0000-0000-0000-000000000002", "request_id=r-1"])
def test_the_filters_of_administrators_are_forbidden_to_others(ada: Client, query: str) -> None:
    assert ada.get(f"/operations?{query}").status_code == 403


@pytest.mark.parametrize("query", ["status=done", "since=yesterday", "actor=x", "cursor=x", "limit=0", "colour=red"])
def test_a_filter_that_makes_no_sense_is_refused(admin: Client, query: str) -> None:
    assert admin.get(f"/operations?{query}").status_code == 422


def test_an_operation_whose_id_holds_no_time_of_ours_is_listed_with_that_of_its_row(
    admin: Client, process: Process
) -> None:
    """Another program may have named its message: `ffff…` would be a time after the year 9999."""
    with process.resources.database.transaction() as connection:
        connection.execute(
            sa.text(
                "insert into operations (id, name, status, accepted_at)"
                " values (:id, 'users.create_user', 'succeeded', '2026-01-02T03:04:05Z')"
            ),
            {"id": UUID("ffffffff-ffff-4fff-8fff-ffffffffffff")},
        )
    (found,) = admin.get("/operations").json["items"]
    assert found["accepted_at"] == "2026-01-02T03:04:05Z"


def test_the_listing_has_pages(ada: Client, queue: InlineQueue) -> None:
    for age in range(3):
        ada.patch("/users/me", {"age": age})
    queue.drain()
    queue.down = True
    ada.patch("/users/me", {"age": 4})
    seen, url = [], "/operations?limit=2"
    while url:
        page = ada.get(url)
        seen += [item["id"] for item in page.json["items"]]
        url = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert len(seen) == len(set(seen)) == 4
    assert seen == ids(ada)


def test_what_subscribers_processed_is_no_operation(client: Client, admin: Client, queue: InlineQueue) -> None:
    client.post("/users", ADA)
    queue.drain()
    assert {item["command"] for item in admin.get("/operations").json["items"]} == {"users.create_user"}


def test_a_cancelled_operation_has_no_effect(admin: Client, queue: InlineQueue, sql: Sql) -> None:
    queue.down = True
    accepted = admin.post("/notes", MILK, X_Request_ID="the-command")
    done = admin.post(f"{accepted.headers['Location']}/cancel")
    assert done.status_code == 200
    assert (done.json["id"], done.json["status"]) == (accepted.json["id"], "failed")
    assert (done.json["error"]["status"], done.json["error"]["code"]) == (409, "cancelled")
    queue.down = False
    queue.sweep()
    assert admin.get(accepted.headers["Location"]).json == done.json
    assert admin.get(accepted.json["resource"]).status_code == 404
    assert ids(admin) == [accepted.json["id"]]
    assert ("operations.cancel", "succeeded") in sql("select action, outcome from audit_log")


def test_a_finished_operation_can_no_longer_be_cancelled(admin: Client, queue: InlineQueue) -> None:
    location = admin.post("/notes", MILK).headers["Location"]
    queue.drain()
    for _ in range(2):
        late = admin.post(f"{location}/cancel")
        assert (late.status_code, late.json["code"]) == (409, "operation_finished")
    assert admin.get(location).json["status"] == "succeeded"


def test_an_operation_is_cancelled_once(admin: Client, queue: InlineQueue) -> None:
    queue.down = True
    location = admin.post("/notes", MILK).headers["Location"]
    assert [admin.post(f"{location}/cancel").status_code for _ in range(2)] == [200, 409]


def test_who_waits_hears_of_the_cancellation(admin: Client, queue: InlineQueue) -> None:
    queue.down = True
    location = admin.post("/notes", MILK).headers["Location"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(admin.get, location, Prefer="wait=10")
        assert admin.post(f"{location}/cancel").status_code == 200
        assert waiting.result().json["error"]["code"] == "cancelled"


def test_only_the_owner_and_administrators_cancel(
    client: Client, ada: Client, admin: Client, queue: InlineQueue
) -> None:
    queue.down = True
    location = ada.patch("/users/me", {"age": 36}).headers["Location"]
    assert client.post(f"{location}/cancel").status_code == 401
    assert client.with_token("bob").post(f"{location}/cancel").status_code == 404
    assert ada.post(f"{location[:-1]}/cancel").status_code == 404
    assert admin.post(f"{location}/cancel").status_code == 200


@pytest.mark.parametrize("commits", [True, False])
def test_a_worker_that_has_begun_is_waited_for(
    app: Flask,
    ada: Client,
    queue: InlineQueue,
    process: Process,
    commits: bool,  # noqa: FBT001
) -> None:
    """Whichever commits first decides."""
    queue.down = True
    location = ada.patch("/users/me", {"age": 36}).headers["Location"]
    with ThreadPoolExecutor(1) as pool:
        with process.resources.database.engine.begin() as worker:
            inbox.claim(worker, _message(app, location))
            cancelling = pool.submit(ada.post, f"{location}/cancel")
            _until_somebody_waits_for(worker)
            if not commits:
                worker.rollback()
        assert cancelling.result().status_code == (409 if commits else 200)


def _message(app: Flask, location: str) -> Envelope:
    with app.app_context():
        handle = Handle.parse(location.rpartition("/")[2])
    return Envelope(handle.operation_id, handle.command, "users.commands", {}, Headers(actor=handle.owner))


def _until_somebody_waits_for(worker: Any) -> None:
    waits = "select exists (select from pg_locks where not granted and locktype = 'transactionid')"
    while not worker.exec_driver_sql(waits).scalar():
        pass


def test_cancelling_a_reused_key_does_not_touch_the_operation_that_came_first(
    admin: Client, queue: InlineQueue
) -> None:
    queue.down = True
    first = admin.post("/notes", MILK, Idempotency_Key="k-1")
    second = admin.post("/notes", BREAD, Idempotency_Key="k-1")
    cancelled = admin.post(f"{second.headers['Location']}/cancel")
    queue.down = False
    queue.sweep()
    done = admin.get(first.headers["Location"]).json
    assert (done["status"], done.get("error"), done["resource"]) == ("succeeded", None, first.json["resource"])
    assert done["finished_at"] > cancelled.json["finished_at"]
    assert admin.get(second.headers["Location"]).json["error"]["code"] == "idempotency_key_reused"


def test_a_cancelled_command_decides_nothing_for_another_under_its_key(
    admin: Client, queue: InlineQueue, sql: Sql
) -> None:
    queue.down = True
    accepted = [admin.post("/notes", note, Idempotency_Key="k-1") for note in (MILK, BREAD)]
    first, second = (answer.headers["Location"] for answer in accepted)
    assert admin.post(f"{second}/cancel").status_code == 200
    assert admin.get(first).json["status"] == "pending"
    assert admin.post("/notes", MILK, Idempotency_Key="k-1").headers["Location"] == first
    assert admin.post(f"{first}/cancel").status_code == 200
    queue.down = False
    queue.sweep()
    assert {admin.get(location).json["error"]["code"] for location in (first, second)} == {"cancelled"}
    assert admin.get(accepted[0].json["resource"]).status_code == 404
    assert [admin.post(f"{location}/cancel").status_code for location in (first, second)] == [409, 409]
    sql("update operations set fingerprint = '*' where problem ->> 'code' = 'cancelled'")  # as release 0.2.0 wrote it
    assert {admin.get(location).json["error"]["code"] for location in (first, second)} == {"cancelled"}


def test_a_third_command_under_a_key_of_two_cancelled_ones_is_refused(admin: Client, queue: InlineQueue) -> None:
    queue.down = True
    for note in (MILK, BREAD):
        admin.post(f"{admin.post('/notes', note, Idempotency_Key='k-1').headers['Location']}/cancel")
    third = admin.post("/notes", {"text": "eggs"}, Idempotency_Key="k-1")
    assert (third.status_code, third.json["code"]) == (422, "idempotency_key_reused")
    codes = [admin.post("/notes", note, Idempotency_Key="k-1").json["error"]["code"] for note in (MILK, BREAD)]
    assert codes == ["cancelled", "cancelled"]
    (listed,) = admin.get("/operations").json["items"]
    assert admin.get(f"/operations/{listed['id']}").json["error"]["code"] == "cancelled"


def test_the_failure_of_a_reused_key_names_the_request_that_sent_it_again(
    admin: Client, queue: InlineQueue, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    admin.post("/notes", MILK, Idempotency_Key="k-1", X_Request_ID="first")
    with monkeypatch.context() as patch:  # as if no worker had processed the first yet
        patch.setattr("backend.kernel.http.commands.outcome_if_known", lambda *_: None)
        second = admin.post("/notes", BREAD, Idempotency_Key="k-1", X_Request_ID="second")
    queue.drain()
    error = admin.get(second.headers["Location"], X_Request_ID="later").json["error"]
    assert (error["code"], error["request_id"]) == ("idempotency_key_reused", "second")
    again = admin.post("/notes", BREAD, Idempotency_Key="k-1", X_Request_ID="third")
    assert (again.status_code, again.json["request_id"]) == (422, "third")
    assert len(admin.get("/operations?command=notes.write_note").json["items"]) == 1
    stored = sql("select request_id, problem ->> 'code' from operations where name = 'notes.write_note' order by 1")
    assert stored == [("first", None), ("second", "idempotency_key_reused")]


@pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "k-1"}])
def test_a_handle_past_its_30_days_is_not_found_under_a_key_or_not(
    ada: Client, queue: InlineQueue, monkeypatch: pytest.MonkeyPatch, key: dict[str, str]
) -> None:
    queue.down = True
    location = ada.patch("/users/me", {"age": 36}, **key).headers["Location"]
    retention = operations.RETENTION
    monkeypatch.setattr(operations, "RETENTION", retention - timedelta(days=29, hours=23))  # as if so much had passed
    assert ada.get(location).json["status"] == "pending"
    monkeypatch.setattr(operations, "RETENTION", retention - timedelta(days=31))
    assert ada.get(location).status_code == 404
    assert ada.post(f"{location}/cancel").status_code == 404


def test_an_outcome_past_its_30_days_is_not_found_before_it_is_purged(
    ada: Client, queue: InlineQueue, sql: Sql
) -> None:
    location = ada.patch("/users/me", {"age": 36}).headers["Location"]
    queue.drain()
    sql("update operations set finished_at = now() - interval '29 days 23 hours'")
    assert ada.get(location).status_code == 200
    sql("update operations set finished_at = now() - interval '30 days 1 hour'")
    assert ada.get(location).status_code == 404


def test_a_repeated_request_gets_the_same_handle_before_and_after_its_outcome(
    ada: Client, queue: InlineQueue, sql: Sql
) -> None:
    """Also when a day, as the handle counts days, ends in between."""
    first = ada.patch("/users/me", {"age": 36}, Idempotency_Key="k-1").json["id"]
    assert ada.patch("/users/me", {"age": 36}, Idempotency_Key="k-1").json["id"] == first
    queue.drain()
    assert ada.patch("/users/me", {"age": 36}, Idempotency_Key="k-1").json["id"] == first
    sql("update operations set accepted_at = accepted_at - interval '3 days'")
    earlier = ada.patch("/users/me", {"age": 36}, Idempotency_Key="k-1").json["id"]
    assert earlier != first
    assert ada.get(f"/operations/{earlier}").json["status"] == "failed"


def test_days_begin_at_another_time_for_each_id() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    begins = {
        next(hour for hour in range(24) if day_of(one, moment + timedelta(hours=hour)) > day_of(one, moment))
        for one in (uuid7() for _ in range(100))
        if day_of(one, moment + timedelta(hours=23)) > day_of(one, moment)
    }
    assert len(begins) > 10


def test_handles_of_an_earlier_release_stay_readable(app: Flask, ada: Client, queue: InlineQueue) -> None:
    location = ada.patch("/users/me", {"age": 36}, Idempotency_Key="k-1").headers["Location"]
    queue.drain()
    with app.app_context():
        keyring = app.extensions["api"].keyring
        *earlier, _day = keyring.verify("operation", location.rpartition("/")[2])
        handle = keyring.sign("operation", earlier)
    assert ada.get(f"/operations/{handle}").json["status"] == "failed"


_FILLED = """
insert into operations (id, name, status, resource, finished_at)
select gen_random_uuid(), case when one = 1 then 'notes.rename' else 'notes.write' end,
    case when one = 1 then 'failed' else 'succeeded' end, '/api/v1/notes/' || one, now() - make_interval(secs => one)
from generate_series(0, 19999) one order by one desc
"""
_READ = "select sum(pg_stat_get_xact_tuples_returned(oid)) from pg_class where relname ~ '^operations'"


@pytest.mark.parametrize(
    "wanted",
    [
        {"resource": "/api/v1/notes/1"},
        {"resource": "/api/v1/notes/none"},
        {"command": "notes.rename"},
        {"status": "failed"},
        {"status": "pending"},
    ],
)
def test_few_operations_of_many_are_found_without_reading_the_others(process: Process, wanted: dict[str, Any]) -> None:
    with psycopg.connect(process.resources.database.url, autocommit=True) as connection:
        connection.execute(_FILLED)
        connection.execute("analyze operations")
        with connection.transaction():
            for _ in range(15):  # PostgreSQL makes one plan for all values after some executions
                listed(connection, ["notes.rename", "notes.write"], 50, **wanted)
            read = connection.execute(_READ).fetchone()
    assert read is not None
    assert read[0] < 20_000, "in 15 listings, fewer than the table has"
