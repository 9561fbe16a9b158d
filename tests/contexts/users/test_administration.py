"""What administrators see and do of users."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import DeactivateUser, DeleteUser, SetRoles
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Refusal
from backend.program import Process
from tests.client import Client
from tests.contexts.users.conftest import Person, Register
from tests.inline import InlineQueue

COMMANDS: list[tuple[str, str, Any]] = [
    ("post", "/activate", None),
    ("post", "/deactivate", None),
    ("put", "/roles", {"roles": ["admin"]}),
    ("delete", "/sessions", None),
    ("delete", "", None),
]


@pytest.mark.parametrize(("method", "path", "body"), COMMANDS)
def test_only_admins_change_other_users(  # noqa: PLR0913, PLR0917 - three are a row of the table
    ada: Person, register: Register, visitor: Client, method: str, path: str, body: Any
) -> None:
    for who, status in ((visitor, 401), (register(), 403), (ada, 403)):
        arguments = [ada.path + path, *([body] if body else [])]
        assert getattr(who, method)(*arguments).status_code == status


def test_a_role_is_not_checked_before_the_caller(register: Register, visitor: Client) -> None:
    assert visitor.put(f"/users/{uuid4()}/roles", {"roles": 1}).status_code == 401
    assert register().put(f"/users/{uuid4()}/roles", {"roles": 1}).status_code == 403


@pytest.mark.parametrize(("method", "path", "body"), COMMANDS)
def test_that_a_user_is_missing_comes_with_the_outcome(
    admin: Client, queue: InlineQueue, method: str, path: str, body: Any
) -> None:
    arguments = [f"/users/{uuid4()}{path}", *([body] if body else [])]
    accepted = getattr(admin, method)(*arguments, Prefer="respond-async")
    assert accepted.status_code == 202
    queue.drain()
    error = admin.get(accepted.headers["Location"]).json["error"]
    assert (error["status"], error["code"]) == (404, "user_not_found")
    waited = getattr(admin, method)(*arguments)
    assert (waited.status_code, waited.json["code"]) == (404, "user_not_found")


def test_a_user_is_shut_out_and_let_in_again(ada: Person, admin: Client) -> None:
    assert admin.post(f"{ada.path}/deactivate").json["is_active"] is False
    again = admin.post(f"{ada.path}/deactivate")
    assert (again.status_code, again.json["is_active"]) == (200, False)
    assert admin.post(f"{ada.path}/activate").json["is_active"] is True


def test_the_sessions_of_a_user_are_ended(ada: Person, admin: Client, queue: InlineQueue) -> None:
    ended = admin.delete(f"{ada.path}/sessions")
    assert (ended.status_code, ended.data) == (204, b"")
    queue.drain()
    announced = [key for key, event in queue.announced if event["subject"] == ada.id]
    assert announced[-1] == "users.user_signed_out.v1"


def test_a_command_of_an_admin_minds_if_match(ada: Person, admin: Client) -> None:
    tag = admin.get(ada.path).headers["ETag"]
    assert admin.post(f"{ada.path}/deactivate", If_Match=tag).status_code == 200
    for stale in (
        admin.post(f"{ada.path}/activate", If_Match=tag),
        admin.put(f"{ada.path}/roles", {"roles": []}, If_Match=tag),
        admin.delete(ada.path, If_Match=tag),
    ):
        assert (stale.status_code, stale.json["code"]) == (412, "stale_version")


def test_roles_are_set_as_a_whole(ada: Person, register: Register, admin: Client) -> None:
    admin.put(f"{register().path}/roles", {"roles": ["admin"]})
    given = admin.put(f"{ada.path}/roles", {"roles": ["admin", "admin"]})
    assert (given.status_code, given.json["roles"]) == (200, ["admin"])
    assert admin.put(f"{ada.path}/roles", {"roles": []}).json["roles"] == []


@pytest.mark.parametrize("body", [{"roles": ["owner"]}, {"roles": "admin"}, {"roles": None}, {}, {"roles": [], "x": 1}])
def test_roles_that_do_not_exist_are_refused(ada: Person, admin: Client, body: Any) -> None:
    assert admin.put(f"{ada.path}/roles", body).status_code == 422


def test_the_last_active_admin_stays(ada: Person, admin: Client) -> None:
    admin.put(f"{ada.path}/roles", {"roles": ["admin"]})
    for refused in (
        admin.put(f"{ada.path}/roles", {"roles": []}),
        admin.post(f"{ada.path}/deactivate"),
        admin.delete(ada.path),
        ada.delete("/users/me"),
    ):
        assert (refused.status_code, refused.json["code"]) == (409, "last_admin")
    assert admin.put(f"{ada.path}/roles", {"roles": ["admin"]}).status_code == 200


@pytest.mark.parametrize(
    "command", [DeactivateUser, DeleteUser, lambda user_id: SetRoles(user_id, [])], ids=["off", "gone", "demoted"]
)
def test_of_two_admins_who_are_removed_at_the_same_time_one_stays(
    bus: Bus, register: Register, admin: Client, sql: Callable[..., Any], command: Callable[[UUID], Any]
) -> None:
    for _ in range(5):
        sql("update users set roles = '{}'")
        admins = [register() for _ in range(4)]
        for person in admins:
            assert admin.put(f"{person.path}/roles", {"roles": ["admin"]}).status_code == 200
        with ThreadPoolExecutor(4) as workers:
            outcomes = list(workers.map(lambda person: _outcome(bus, command(UUID(person.id))), admins))
        assert sorted(outcomes) == ["done", "done", "done", "last_admin"]
        left = sql("select count(*) from users where 'admin' = any(roles) and is_active").fetchone()
        assert left == (1,)


@pytest.mark.parametrize("ended", [DeactivateUser, lambda user_id: SetRoles(user_id, [])], ids=["off", "demoted"])
def test_in_one_batch_a_former_admin_orders_nothing_more(
    process: Process, register: Register, admin: Client, sql: Callable[..., Any], ended: Callable[[UUID], Any]
) -> None:
    other, former, another = (register() for _ in range(3))
    for person in (former, another):
        assert admin.put(f"{person.path}/roles", {"roles": ["admin"]}).status_code == 200
    orders = [
        (another, SetRoles(UUID(other.id), [])),
        (former, SetRoles(UUID(other.id), [])),
        (another, ended(UUID(former.id))),
        (former, SetRoles(UUID(former.id), ["admin"])),
    ]
    batch = []
    for actor, command in orders:
        token = current_origin.set(Origin(actor=UUID(actor.id)))
        batch.append(process.resources.codec.of_command(command, uuid7()))
        current_origin.reset(token)
    assert process.batches.receive(batch) == {envelope.id for envelope in batch}
    codes = [
        sql("select problem ->> 'code' from operations where id = %s", envelope.id).fetchone()[0] for envelope in batch
    ]
    assert codes == [None, None, None, "forbidden"]


def _outcome(bus: Bus, command: Any) -> str:
    try:
        bus.execute(command)
    except Refusal as refusal:
        return refusal.code()
    return "done"


def test_a_deleted_user_is_gone(ada: Person, admin: Client, visitor: Client, queue: InlineQueue) -> None:
    accepted = admin.delete(ada.path, Prefer="respond-async")
    queue.drain()
    assert visitor.get(accepted.headers["Location"]).json["status"] == "succeeded"
    assert admin.get(ada.path).status_code == 404


def test_users_are_listed_for_admins_only_in_pages_newest_first(register: Register, admin: Client) -> None:
    people = [register() for _ in range(5)]
    assert people[0].get("/users").status_code == 403
    first = admin.get("/users?limit=3")
    assert [user["id"] for user in first.json["items"]] == [person.id for person in people[:1:-1]]
    assert first.headers["Link"] == f'</api/v1/users?limit=3&cursor={first.json["next_cursor"]}>; rel="next"'
    rest = admin.get(f"/users?limit=3&cursor={first.json['next_cursor']}")
    assert [user["id"] for user in rest.json["items"]] == [people[1].id, people[0].id]
    assert rest.json["next_cursor"] is None
    assert "Link" not in rest.headers


def test_a_listed_user_is_shown_in_full(ada: Person, admin: Client) -> None:
    assert admin.get("/users").json["items"] == [ada.account]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("email=OMAR@example.com", ["Omar"]),
        ("email=", []),
        ("email=omar", []),
        ("username=oMaR.v", ["Omar"]),
        ("username=omar", []),
        ("is_active=false", ["Grace"]),
        ("is_active=true", ["Agnès", "Omar", "Ada_B"]),
        ("q=om", ["Omar"]),
        ("q=agne%CC%80s", ["Agnès"]),
        ("q=ADA%5FB", ["Ada_B"]),
        ("q=ada%25", []),
        ("q=count", ["Ada_B"]),
        ("q=navy", ["Grace"]),
        ("q=ada&is_active=false", []),
        ("q=%F0%9F%90%98", []),
    ],
)
def test_users_are_found_by_address_username_state_or_the_beginning_of_any(
    register: Register, admin: Client, query: str, found: list[str]
) -> None:
    register(name="Ada_B", email="countess@example.com")
    grace = register(name="Grace", email="navy@example.com")
    register(name="Omar", email="omar@example.com", username="Omar.V")
    register(name="Agnès", email="a@example.org")
    admin.post(f"{grace.path}/deactivate")
    listed = admin.get(f"/users?{query}")
    assert listed.status_code == 200
    assert [user["name"] for user in listed.json["items"]] == found


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=forged", "is_active=perhaps", "colour=red", "q=%00", "q=a&q=b"]
)
def test_a_listing_that_cannot_be_is_told_by_its_parameter(admin: Client, query: str) -> None:
    refused = admin.get(f"/users?{query}")
    assert refused.status_code == 422
    assert refused.json["errors"][0]["parameter"] == query.split("=", maxsplit=1)[0]


def test_events_of_a_user_are_announced_without_addresses_of_mails_or_secrets(
    ada: Person, admin: Client, queue: InlineQueue
) -> None:
    admin.post(f"{ada.path}/deactivate")
    queue.drain()
    announced = [key for key, event in queue.announced if event["subject"] == ada.id]
    assert announced == ["users.user_created.v1", "users.user_deactivated.v1"]


def test_a_command_of_another_person_is_theirs_alone(ada: Person, register: Register) -> None:
    accepted = ada.patch("/users/me", {"age": 36}, Prefer="respond-async")
    assert register().get(accepted.headers["Location"]).status_code == 404
