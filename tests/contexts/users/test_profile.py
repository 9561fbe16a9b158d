"""The own profile over HTTP: seen, changed, and shown to others."""

from __future__ import annotations

from typing import Any

import pytest

from backend.contexts.users.domain.events import PasswordChanged
from backend.program import Process
from tests.client import PASSWORD, Client
from tests.contexts.users.conftest import Mailbox, Person, Register
from tests.inline import InlineQueue

FULL_VIEW = {
    "id",
    "email",
    "username",
    "name",
    "first_name",
    "middle_name",
    "last_name",
    "phone_number",
    "gender",
    "age",
    "roles",
    "is_active",
    "email_verified",
    "two_step",
    "created_at",
    "updated_at",
    "version",
}
OMAR = {"first_name": "José Omar", "middle_name": "Carrillo", "last_name": "Vegas"}


@pytest.mark.parametrize("path", ["/users/me", "/auth/me"])
def test_a_user_sees_the_full_view_of_themself_and_never_a_password(ada: Person, path: str) -> None:
    me = ada.get(path)
    assert me.status_code == 200
    assert set(me.json) == FULL_VIEW
    assert me.json == ada.account == ada.get(ada.path).json
    assert me.headers["ETag"] == f'"{ada.id}.1"'


@pytest.mark.parametrize("path", ["/users/me", "/auth/me"])
def test_what_a_browser_kept_of_one_user_never_passes_for_another(path: str, register: Register) -> None:
    """Alice signs out, Boris signs in: the browser revalidates, and saves, with what it has of Alice."""
    alice, boris = register(name="Alice"), register(name="Boris")
    tag = alice.get(path).headers["ETag"]
    seen = boris.get(path, If_None_Match=tag)
    assert (seen.status_code, seen.json["name"]) == (200, "Boris")
    saved = boris.patch("/users/me", {"name": "Alice"}, If_Match=tag)
    assert (saved.status_code, saved.json["code"]) == (412, "stale_version")
    assert boris.get(path).json["name"] == "Boris"


def test_another_users_tag_never_lets_an_admin_write(ada: Person, register: Register, admin: Client) -> None:
    bob = register()
    tag = admin.get(bob.path).headers["ETag"]
    for refused in (
        admin.post(f"{ada.path}/deactivate", If_Match=tag),
        admin.put(f"{ada.path}/roles", {"roles": []}, If_Match=tag),
        admin.delete(ada.path, If_Match=tag),
    ):
        assert (refused.status_code, refused.json["code"]) == (412, "stale_version")
    assert admin.get(ada.path, If_None_Match=tag).status_code == 200


def test_others_see_id_name_and_creation_only(ada: Person, register: Register, admin: Client) -> None:
    seen = register().get(ada.path)
    assert seen.json == {"id": ada.id, "name": "Ada", "created_at": ada.account["created_at"]}
    assert admin.get(ada.path).json == ada.account


def test_what_others_see_has_an_etag_of_its_own(ada: Person, register: Register) -> None:
    eve = register()
    tag = eve.get(ada.path).headers["ETag"]
    assert tag != ada.get(ada.path).headers["ETag"]
    assert eve.get(ada.path, If_None_Match=tag).status_code == 304


def test_nobody_anonymous_sees_a_user(ada: Person, visitor: Client) -> None:
    for path in (ada.path, "/users/me", "/auth/me", "/users"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.json["code"]) == (401, "invalid_token")


@pytest.mark.parametrize("missing", ["not-an-id", "0190a2b4", "6d82dffd-ed14-4d29-a3c3-d0865e5299b8"])
def test_a_user_who_does_not_exist_is_not_found(ada: Person, missing: str) -> None:
    assert ada.get(f"/users/{missing}").status_code == 404


@pytest.mark.parametrize("change", [Client.put, Client.patch])
def test_put_and_patch_change_only_the_fields_present(register: Register, change: Any) -> None:
    omar = register(**OMAR, name=None, gender="M", age=26, phone_number="+34600000000")
    changed = change(omar, "/users/me", {"age": 27, "gender": None})
    assert changed.status_code == 200
    untouched = {"age", "gender", "version", "updated_at"}
    assert {k: v for k, v in changed.json.items() if k not in untouched} == {
        k: v for k, v in omar.account.items() if k not in untouched
    }
    assert (changed.json["age"], changed.json["gender"], changed.json["version"]) == (27, None, 2)
    assert changed.json["updated_at"] > changed.json["created_at"]
    assert omar.get("/users/me").json == changed.json


def test_the_profile_body_of_the_contract_works_as_it_stands(ada: Person) -> None:
    changed = ada.put("/auth/profile", {"full_name": "Updated Name", "phone_number": "+0987654321"})
    assert changed.status_code == 200
    assert (changed.json["name"], changed.json["phone_number"]) == ("Updated Name", "+0987654321")


def test_an_update_that_nobody_waits_for_is_an_operation_of_the_caller(
    ada: Person, register: Register, queue: InlineQueue
) -> None:
    accepted = ada.patch("/users/me", {"age": 36}, Prefer="respond-async")
    assert (accepted.status_code, accepted.json["command"]) == (202, "users.update_profile")
    assert accepted.json["resource"] == f"/api/v1{ada.path}"
    queue.drain()
    location = accepted.headers["Location"]
    assert ada.get(location).json["status"] == "succeeded"
    assert register(role="admin").get(location).status_code == 200
    assert register().get(location).status_code == 404


def test_changing_a_part_recomposes_the_name_and_changing_the_name_clears_the_parts(register: Register) -> None:
    omar = register(**OMAR, name=None)
    assert omar.account["name"] == "José Omar Carrillo Vegas"
    recomposed = omar.patch("/users/me", {"middle_name": None, "last_name": "  Vega "})
    assert recomposed.json["name"] == "José Omar Vega"
    renamed = omar.patch("/users/me", {"name": "Omar"}).json
    assert [renamed[part] for part in ("name", *OMAR)] == ["Omar", None, None, None]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"full_name": None}, "/full_name"),
        ({"name": "Ada", "full_name": "Eve"}, "/full_name"),
        ({"name": " "}, "/name"),
        ({"name": "A\x07"}, "/name"),
        ({"name": "A" * 201}, "/name"),
        ({"username": "a b"}, "/username"),
        ({"username": "ab"}, "/username"),
        ({"username": "ümlaut"}, "/username"),
        ({"phone_number": "0987654321"}, "/phone_number"),
        ({"phone_number": "+123456"}, "/phone_number"),
        ({"gender": "x" * 33}, "/gender"),
        ({"gender": "\u200b\u2060"}, "/gender"),
        ({"age": -1}, "/age"),
        ({"age": 151}, "/age"),
        ({"age": "26"}, "/age"),
        ({"age": True}, "/age"),
        ({"first_name": "A" * 201}, "/first_name"),
    ],
)
def test_what_a_profile_cannot_be_is_told_by_its_pointer(ada: Person, change: Any, pointer: str) -> None:
    refused = ada.patch("/users/me", change)
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in refused.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    "field", ["roles", "is_active", "email_verified", "email", "password", "two_step", "id", "version", "pending"]
)
def test_nobody_gives_themself_more_than_a_profile(ada: Person, visitor: Client, field: str) -> None:
    smuggled = {field: ["admin"]}
    assert ada.patch("/users/me", smuggled).status_code == 422
    assert ada.put("/auth/profile", smuggled).status_code == 422
    if field not in ("email", "password"):
        body = {"name": "Eve", "email": "eve@example.com", "password": PASSWORD, **smuggled}
        for path in ("/users", "/auth/register"):
            refused = visitor.post(path, body)
            assert refused.status_code == 422
            assert refused.json["errors"][0]["pointer"] == f"/{field}"


def test_a_username_is_unique_without_regard_to_case_and_free_again_when_cleared(
    ada: Person, register: Register
) -> None:
    eve = register()
    refused = eve.patch("/users/me", {"username": "aDA"})
    assert (refused.status_code, refused.json["code"]) == (409, "username_taken")
    assert ada.patch("/users/me", {"username": "ADA"}).json["username"] == "ADA"
    ada.patch("/users/me", {"username": None})
    assert eve.patch("/users/me", {"username": "aDA"}).json["username"] == "aDA"


def test_a_stale_if_match_ends_as_412_and_without_if_match_the_last_write_wins(ada: Person) -> None:
    tag = ada.get("/users/me").headers["ETag"]
    assert ada.patch("/users/me", {"age": 36}, If_Match=tag).status_code == 200
    stale = ada.patch("/users/me", {"age": 37}, If_Match=tag)
    assert (stale.status_code, stale.json["code"]) == (412, "stale_version")
    assert ada.patch("/users/me", {"age": 38}).json["age"] == 38
    assert ada.patch("/users/me", {"age": 39}, If_Match="*").json["age"] == 39


def test_the_version_a_caller_has_is_not_sent_again(ada: Person) -> None:
    tag = ada.get("/users/me").headers["ETag"]
    assert ada.get("/users/me", If_None_Match=tag).status_code == 304
    ada.patch("/users/me", {"age": 36})
    assert ada.get("/users/me", If_None_Match=tag).status_code == 200


def test_nothing_to_change_changes_nothing(ada: Person) -> None:
    assert ada.patch("/users/me", {}).json == ada.account


def test_a_deleted_account_is_gone_its_address_free_and_its_outcome_readable_by_whoever_holds_the_handle(
    ada: Person, visitor: Client, register: Register, admin: Client, queue: InlineQueue
) -> None:
    accepted = ada.delete("/users/me", Prefer="respond-async")
    assert accepted.status_code == 202
    queue.drain()
    assert visitor.get(accepted.headers["Location"]).json["status"] == "succeeded"
    assert admin.get(ada.path).status_code == 404
    assert register(email=ada.email, username="Ada").id != ada.id


def test_a_deletion_that_is_waited_for_is_204_and_minds_if_match(ada: Person) -> None:
    assert ada.delete("/users/me", If_Match='"7"').status_code == 412
    deleted = ada.delete("/users/me")
    assert (deleted.status_code, deleted.data) == (204, b"")


def test_changing_the_password_is_204_when_waited_for_and_mails_a_notice(register: Register, mailbox: Mailbox) -> None:
    user = register(password="OldPass123!")
    body = {"old_password": "OldPass123!", "new_password": "NewPass123!"}
    changed = user.put("/auth/change-password", body)
    assert (changed.status_code, changed.data) == (204, b"")
    assert len(mailbox.sent(PasswordChanged, user.email)) == 1
    wrong = user.put("/auth/change-password", body)
    assert (wrong.status_code, wrong.json["code"]) == (403, "wrong_password")
    assert user.put("/auth/change-password", {**body, "old_password": "NewPass123!"}).status_code == 204


@pytest.mark.parametrize("new", ["short", "x" * 129, "password123", "ADA@example.com", "ada-of-example"])
def test_a_new_password_follows_the_same_policy(register: Register, new: str) -> None:
    user = register(email="ada@example.com", username="Ada-of-Example")
    refused = user.put("/auth/change-password", {"old_password": PASSWORD, "new_password": new})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json["errors"]] == ["/new_password"]


def test_the_72nd_byte_of_a_password_is_not_the_last_that_counts(register: Register) -> None:
    long = "ñ" * 60
    user = register(password=long + "a")
    wrong = user.put("/auth/change-password", {"old_password": long + "b", "new_password": PASSWORD})
    assert wrong.json["code"] == "wrong_password"
    assert user.put("/auth/change-password", {"old_password": long + "a", "new_password": PASSWORD}).status_code == 204


def test_too_many_wrong_old_passwords_are_429_for_the_right_one_too_and_say_how_long(
    ada: Person, queue: InlineQueue
) -> None:
    wrong = {"old_password": "wrong", "new_password": "NewPass123!"}
    codes = [ada.put("/auth/change-password", wrong).json["code"] for _ in range(5)]
    assert codes == ["wrong_password"] * 5
    refused = ada.put("/auth/change-password", {**wrong, "old_password": PASSWORD})
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_attempts")
    assert int(refused.headers["Retry-After"]) == refused.json["retry_after"] > 0
    accepted = ada.put("/auth/change-password", wrong, Prefer="respond-async")
    queue.drain()
    assert ada.get(accepted.headers["Location"]).json["error"]["status"] == 429
    for path, body in (("/auth/two-step", {"enabled": True}), ("/auth/change-email", {"email": "new@example.com"})):
        throttled = ada.put(path, {**body, "password": PASSWORD})
        assert throttled.status_code == 429
        assert int(throttled.headers["Retry-After"]) > 0


def test_a_wrong_old_password_counts_once_however_often_its_message_is_delivered(
    ada: Person, process: Process, queue: InlineQueue
) -> None:
    wrong = {"old_password": "not that one", "new_password": "another good one"}
    ada.put("/auth/change-password", wrong)
    for _ in range(8):
        process.receiver.receive(queue.sent[-1])
    right = ada.put("/auth/change-password", {**wrong, "old_password": PASSWORD})
    assert right.status_code == 204
