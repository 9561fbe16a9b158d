"""Links by mail: proving an address, changing it, getting back in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bcrypt
import pytest
from flask import Flask

from backend.contexts.users.domain.events import (
    EmailChangeNoticed,
    EmailChangeRequested,
    EmailVerificationRequested,
    PasswordChanged,
    PasswordResetRequested,
)
from backend.kernel.turns import turns_of
from backend.program import Process
from tests.client import PASSWORD, Client
from tests.contexts.users.conftest import Mailbox, Person, Register
from tests.inline import InlineQueue
from tests.worker import eventually

NEW = "staple of the horse"
Sql = Callable[..., Any]


@pytest.fixture
def ada(mailbox: Mailbox, register: Register) -> Person:
    """Her mails are kept from the first on."""
    return register(email="ada@example.com", username="Ada")


def test_the_token_of_a_link_proves_the_address_once(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    token = mailbox.token(EmailVerificationRequested, ada.email)
    proven = visitor.post("/auth/verify-email", {"token": token})
    assert (proven.status_code, proven.data) == (204, b"")
    assert ada.get("/users/me").json["email_verified"] is True
    again = visitor.post("/auth/verify-email", {"token": token})
    assert (again.status_code, again.json["code"]) == (422, "invalid_link")
    assert again.json["errors"][0]["pointer"] == "/token"


def test_another_link_ends_the_one_before(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    first = mailbox.token(EmailVerificationRequested, ada.email)
    asked = visitor.post("/auth/resend-verification", {"email": "ADA@example.com"})
    assert asked.status_code == 202
    second = mailbox.token(EmailVerificationRequested, ada.email)
    assert visitor.post("/auth/verify-email", {"token": first}).status_code == 422
    assert visitor.post("/auth/verify-email", {"token": second}).status_code == 204


@pytest.mark.parametrize("path", ["/auth/forgot-password", "/auth/resend-verification"])
def test_nobody_learns_from_the_answer_whether_an_address_has_an_account(
    ada: Person, visitor: Client, path: str
) -> None:
    known = visitor.post(path, {"email": ada.email})
    unknown = visitor.post(path, {"email": "nobody@example.com"})
    assert known.status_code == unknown.status_code == 202
    assert known.data == unknown.data
    assert set(known.headers.keys()) == set(unknown.headers.keys())


@pytest.mark.parametrize("path", ["/auth/forgot-password", "/auth/resend-verification"])
def test_the_request_does_not_look_whether_an_address_has_an_account(
    app: Flask, settings: Any, visitor: Client, sql: Sql, path: str
) -> None:
    """The same time for both: all the request does is to hand the address to a worker."""
    sql("alter table users rename to users_away")
    try:
        assert visitor.post(path, {"email": "ada@example.com"}).status_code == 202
    finally:
        sql("alter table users_away rename to users")


def test_a_forgotten_password_is_replaced_with_a_link_that_works_once(
    ada: Person, visitor: Client, mailbox: Mailbox
) -> None:
    visitor.post("/auth/forgot-password", {"email": ada.email})
    token = mailbox.token(PasswordResetRequested, ada.email)
    reset = visitor.post("/auth/reset-password", {"token": token, "new_password": NEW})
    assert (reset.status_code, reset.data) == (204, b"")
    assert ada.put("/auth/change-password", {"old_password": NEW, "new_password": PASSWORD}).status_code == 204
    again = visitor.post("/auth/reset-password", {"token": token, "new_password": NEW})
    assert (again.status_code, again.json["code"]) == (422, "invalid_link")
    assert mailbox.sent(PasswordChanged, ada.email)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What bcrypt was asked to hash."""
    asked: list[bytes] = []
    hash_password = bcrypt.hashpw

    def counted(password: bytes, salt: bytes) -> bytes:
        asked.append(password)
        return hash_password(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", counted)
    return asked


def test_nothing_is_hashed_for_a_link_that_is_not_good(
    ada: Person, visitor: Client, mailbox: Mailbox, hashes: list[bytes]
) -> None:
    visitor.post("/auth/forgot-password", {"email": ada.email})
    token = mailbox.token(PasswordResetRequested, ada.email)
    statuses = [
        visitor.post("/auth/reset-password", {"token": one, "new_password": NEW}).status_code
        for one in (token, token, "forged", mailbox.token(EmailVerificationRequested, ada.email))
    ]
    assert (statuses, len(hashes)) == ([204, 422, 422, 422], 1)


def test_nothing_is_hashed_for_a_link_that_was_used_while_another_request_waited_for_its_turn(  # noqa: PLR0913, PLR0917
    ada: Person, app: Flask, mailbox: Mailbox, process: Process, hashes: list[bytes], sql: Sql
) -> None:
    Client(app).post("/auth/forgot-password", {"email": ada.email})
    body = {"token": mailbox.token(PasswordResetRequested, ada.email), "new_password": NEW}
    turns = process.resources.once(turns_of)
    with ThreadPoolExecutor(1) as others:
        with turns.one(ada.id):
            late = others.submit(Client(app).post, "/auth/reset-password", body)
            eventually(lambda: turns.waiting)
            sql("update links set ended_at = now() where purpose = 'reset_password'")
        assert (late.result().status_code, hashes) == (422, [])


def test_the_policy_holds_for_a_reset_and_leaves_the_link_good(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    visitor.post("/auth/forgot-password", {"email": ada.email})
    token = mailbox.token(PasswordResetRequested, ada.email)
    for weak in ("short", "password123", ada.email):
        refused = visitor.post("/auth/reset-password", {"token": token, "new_password": weak})
        assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/new_password")
    assert visitor.post("/auth/reset-password", {"token": token, "new_password": NEW}).status_code == 204


def test_a_reset_link_is_good_for_15_minutes(ada: Person, visitor: Client, mailbox: Mailbox, sql: Sql) -> None:
    visitor.post("/auth/forgot-password", {"email": ada.email})
    token = mailbox.token(PasswordResetRequested, ada.email)
    (minutes,) = sql("select extract(epoch from expires_at - now()) / 60 from links where purpose = 'reset_password'")
    assert 14 < minutes[0] <= 15
    sql("update links set expires_at = now() where purpose = 'reset_password'")
    late = visitor.post("/auth/reset-password", {"token": token, "new_password": NEW})
    assert (late.status_code, late.json["code"]) == (422, "invalid_link")


def test_an_account_gets_5_reset_mails_an_hour_and_the_surplus_is_dropped_in_silence(
    ada: Person, register: Register, visitor: Client, mailbox: Mailbox, sql: Sql
) -> None:
    eve = register()
    answers = [visitor.post("/auth/forgot-password", {"email": ada.email}) for _ in range(7)]
    assert {answer.status_code for answer in answers} == {202}
    assert len(mailbox.sent(PasswordResetRequested, ada.email)) == 5
    visitor.post("/auth/forgot-password", {"email": eve.email})
    assert len(mailbox.sent(PasswordResetRequested, eve.email)) == 1
    sql("update counters set times = array(select t - interval '1 hour' from unnest(times) t)")
    visitor.post("/auth/forgot-password", {"email": ada.email})
    assert len(mailbox.sent(PasswordResetRequested, ada.email)) == 6


@pytest.mark.parametrize("forged", ["", "x", "a.b", "a" * 5000, "é"])
def test_a_forged_token_is_refused(visitor: Client, forged: str) -> None:
    for path, more in (("/auth/verify-email", {}), ("/auth/reset-password", {"new_password": NEW})):
        refused = visitor.post(path, {"token": forged, **more})
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_link")


def test_a_link_is_good_for_its_own_purpose_only(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    verification = mailbox.token(EmailVerificationRequested, ada.email)
    visitor.post("/auth/forgot-password", {"email": ada.email})
    reset = mailbox.token(PasswordResetRequested, ada.email)
    assert visitor.post("/auth/verify-email", {"token": reset}).json["code"] == "invalid_link"
    refused = visitor.post("/auth/reset-password", {"token": verification, "new_password": NEW})
    assert refused.json["code"] == "invalid_link"
    assert visitor.post("/auth/verify-email", {"token": verification}).status_code == 204


def test_of_two_who_use_a_link_at_once_one_comes_through(app: Flask, ada: Person, mailbox: Mailbox) -> None:
    Client(app).post("/auth/forgot-password", {"email": ada.email})
    token = mailbox.token(PasswordResetRequested, ada.email)

    def reset(number: int) -> int:
        body = {"token": token, "new_password": f"{NEW} {number}"}
        return Client(app).post("/auth/reset-password", body).status_code

    with ThreadPoolExecutor(4) as callers:
        assert sorted(callers.map(reset, range(4))) == [204, 422, 422, 422]


def test_the_address_changes_when_the_link_to_the_new_one_is_followed_and_the_old_one_is_told(
    ada: Person, visitor: Client, mailbox: Mailbox
) -> None:
    asked = ada.put("/auth/change-email", {"email": "Countess@Example.com", "password": PASSWORD})
    assert asked.status_code == 202
    assert ada.get("/users/me").json["email"] == ada.email
    assert len(mailbox.sent(EmailChangeNoticed, ada.email)) == 1
    token = mailbox.token(EmailChangeRequested, "countess@example.com")
    assert visitor.post("/auth/verify-email", {"token": token}).status_code == 204
    me = ada.get("/users/me").json
    assert (me["email"], me["email_verified"]) == ("countess@example.com", True)
    assert visitor.post("/auth/verify-email", {"token": token}).json["code"] == "invalid_link"


def test_a_change_to_a_taken_address_is_answered_alike_and_refused_to_whoever_reads_its_mail(
    ada: Person, register: Register, visitor: Client, mailbox: Mailbox
) -> None:
    eve = register()
    asked = ada.put("/auth/change-email", {"email": eve.email, "password": PASSWORD})
    assert asked.data == ada.put("/auth/change-email", {"email": "free@example.com", "password": PASSWORD}).data
    asked = ada.put("/auth/change-email", {"email": eve.email, "password": PASSWORD})
    token = mailbox.token(EmailChangeRequested, eve.email)
    refused = visitor.post("/auth/verify-email", {"token": token})
    assert (refused.status_code, refused.json["code"]) == (409, "email_taken")
    assert ada.get("/users/me").json["email"] == ada.email


def test_a_changed_address_ends_the_links_to_the_old_one(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    visitor.post("/auth/forgot-password", {"email": ada.email})
    reset = mailbox.token(PasswordResetRequested, ada.email)
    ada.put("/auth/change-email", {"email": "countess@example.com", "password": PASSWORD})
    visitor.post("/auth/verify-email", {"token": mailbox.token(EmailChangeRequested, "countess@example.com")})
    refused = visitor.post("/auth/reset-password", {"token": reset, "new_password": NEW})
    assert refused.json["code"] == "invalid_link"


WITH_PASSWORD = pytest.mark.parametrize(
    ("path", "body"),
    [("/auth/change-email", {"email": "countess@example.com"}), ("/auth/two-step", {"enabled": True})],
)


@pytest.fixture
def no_place_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.kernel.turns._PLACES_TO_WAIT", 0)


@pytest.mark.usefixtures("no_place_to_wait")
@WITH_PASSWORD
def test_the_surplus_of_password_checks_is_told_to_come_again(ada: Person, path: str, body: dict[str, Any]) -> None:
    surplus = ada.put(path, {**body, "password": PASSWORD})
    assert surplus.status_code == 503
    assert surplus.headers["Retry-After"] == "2"


@WITH_PASSWORD
def test_a_wrong_password_changes_nothing(ada: Person, mailbox: Mailbox, path: str, body: dict[str, Any]) -> None:
    wrong = ada.put(path, {**body, "password": "wrong"})
    assert (wrong.status_code, wrong.json["code"]) == (403, "wrong_password")
    assert ada.get("/users/me").json == ada.account
    assert mailbox.sent(EmailChangeNoticed, ada.email) == []


def test_two_step_is_switched_with_the_password(ada: Person) -> None:
    switched = ada.put("/auth/two-step", {"enabled": True, "password": PASSWORD})
    assert (switched.status_code, switched.data) == (204, b"")
    assert ada.get("/users/me").json["two_step"] is True
    ada.put("/auth/two-step", {"enabled": False, "password": PASSWORD})
    assert ada.get("/users/me").json["two_step"] is False


@pytest.mark.parametrize("enabled", ["yes", "true", None, 2])
def test_two_step_is_on_or_off(ada: Person, enabled: Any) -> None:
    refused = ada.put("/auth/two-step", {"enabled": enabled, "password": PASSWORD})
    assert [error["pointer"] for error in refused.json["errors"]] == ["/enabled"]


def test_the_links_of_a_deleted_account_are_gone(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    token = mailbox.token(EmailVerificationRequested, ada.email)
    ada.delete("/users/me")
    assert visitor.post("/auth/verify-email", {"token": token}).json["code"] == "invalid_link"


def test_no_token_can_be_made_of_what_the_table_holds(
    ada: Person, visitor: Client, mailbox: Mailbox, sql: Sql, queue: InlineQueue
) -> None:
    token = mailbox.token(EmailVerificationRequested, ada.email)
    rows = sql("select * from links").fetchall()
    assert token not in repr(rows)
    assert visitor.post("/auth/verify-email", {"token": rows[0][0].hex}).status_code == 422


def test_links_that_are_good_no_more_are_purged(
    ada: Person, visitor: Client, process: Process, queue: InlineQueue, sql: Sql
) -> None:
    visitor.post("/auth/forgot-password", {"email": ada.email})
    queue.drain()
    sql(
        "update links set created_at = created_at - interval '1 day', expires_at = now() - interval '2 hours'"
        " where purpose = 'verify_email'"
    )
    process.purge()
    assert sql("select distinct purpose from links").fetchall() == [("reset_password",)]
