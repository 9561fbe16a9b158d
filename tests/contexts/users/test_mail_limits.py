"""Nobody's mailbox is flooded through us: mails that others can cause are limited by address, whatever the account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from backend.contexts.users.domain.events import (
    EmailChangeNoticed,
    EmailChangeRequested,
    EmailVerificationRequested,
    PasswordChanged,
    PasswordResetRequested,
    TakenEmailRegistered,
    UserMail,
)
from tests.client import PASSWORD, Client
from tests.contexts.users.conftest import Mailbox, Person, Register

EMAIL = "ada@example.com"
ADA = {"name": "Ada", "email": EMAIL, "password": PASSWORD}
MOST = 10
Sql = Callable[..., Any]

verified_only = pytest.mark.parametrize("settings", [{"require_email_verification": True}], indirect=True)
_LIMITED: tuple[type[UserMail], ...] = (
    EmailVerificationRequested,
    PasswordResetRequested,
    EmailChangeRequested,
    TakenEmailRegistered,
)


def mails(mailbox: Mailbox, email: str = EMAIL) -> int:
    return sum(len(mailbox.sent(kind, email)) for kind in _LIMITED)


def register_and_delete(app: Flask, visitor: Client, times: int) -> None:
    for _ in range(times):
        created = visitor.post("/users", ADA)
        assert created.status_code == 201
        assert Person(app, created.json).delete("/users/me").status_code == 204


def test_accounts_that_come_and_go_share_the_limit_of_their_address(
    app: Flask, visitor: Client, mailbox: Mailbox, register: Register
) -> None:
    register_and_delete(app, visitor, MOST + 3)
    assert mails(mailbox) == MOST
    other = register()
    assert mails(mailbox, other.email) == 1


@verified_only
def test_a_taken_address_gets_ten_notices_and_every_answer_is_the_same(visitor: Client, mailbox: Mailbox) -> None:
    assert visitor.post("/users", ADA).status_code == 202
    assert visitor.post("/auth/verify-email", _proof(mailbox)).status_code == 204
    answers = [visitor.post("/users", {**ADA, "name": f"Eve {number}"}) for number in range(15)]
    assert {(answer.status_code, answer.json["status"]) for answer in answers} == {(202, "succeeded")}
    assert len(mailbox.sent(TakenEmailRegistered, EMAIL)) == MOST - 1
    assert mails(mailbox) == MOST


@verified_only
def test_registrations_of_one_free_address_share_its_limit(visitor: Client, mailbox: Mailbox) -> None:
    answers = [visitor.post("/users", {**ADA, "name": f"Ada {number}"}) for number in range(15)]
    assert {(answer.status_code, answer.json["status"]) for answer in answers} == {(202, "succeeded")}
    assert mails(mailbox) == MOST


def test_all_reasons_share_the_limit(app: Flask, ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    for _ in range(7):
        assert visitor.post("/auth/forgot-password", {"email": "ADA@example.com"}).status_code == 202
        assert visitor.post("/auth/resend-verification", {"email": EMAIL}).status_code == 202
    assert len(mailbox.sent(PasswordResetRequested, EMAIL)) + len(mailbox.sent(EmailVerificationRequested, EMAIL)) == 10


def test_a_stranger_who_is_to_be_somebodys_new_address_gets_ten_mails(register: Register, mailbox: Mailbox) -> None:
    for _ in range(3):
        person = register()
        for _ in range(5):
            asked = person.put("/auth/change-email", {"email": EMAIL, "password": PASSWORD})
            assert asked.status_code == 202
    assert len(mailbox.sent(EmailChangeRequested, EMAIL)) == MOST


def test_what_is_not_sent_to_an_account_does_not_count_for_its_address(
    ada: Person, visitor: Client, mailbox: Mailbox
) -> None:
    """After five reset mails an account gets no more; the others are still to come."""
    for _ in range(20):
        visitor.post("/auth/forgot-password", {"email": EMAIL})
    assert len(mailbox.sent(PasswordResetRequested, EMAIL)) == 5
    visitor.post("/auth/resend-verification", {"email": EMAIL})
    assert len(mailbox.sent(EmailVerificationRequested, EMAIL)) == 2


def test_what_is_dropped_leaves_the_last_link_good(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    for path in ("forgot-password", "resend-verification") * 7:
        visitor.post(f"/auth/{path}", {"email": EMAIL})
    token = mailbox.token(EmailVerificationRequested, EMAIL)
    assert visitor.post("/auth/verify-email", {"token": token}).status_code == 204


def test_notices_are_sent_all_the_same(ada: Person, app: Flask, visitor: Client, mailbox: Mailbox) -> None:
    for path in ("forgot-password", "resend-verification") * 7:
        visitor.post(f"/auth/{path}", {"email": EMAIL})
    changed = ada.put("/auth/change-password", {"old_password": PASSWORD, "new_password": "staple of the horse"})
    assert changed.status_code == 204
    assert len(mailbox.sent(PasswordChanged, EMAIL)) == 1
    ada.put("/auth/change-email", {"email": "new@example.com", "password": "staple of the horse"})
    assert len(mailbox.sent(EmailChangeNoticed, EMAIL)) == 1


def test_an_hour_later_there_is_room_again(app: Flask, visitor: Client, mailbox: Mailbox, sql: Sql) -> None:
    register_and_delete(app, visitor, MOST + 1)
    sql("update counters set times = array(select t - interval '1 hour' from unnest(times) t)")
    register_and_delete(app, visitor, 1)
    assert mails(mailbox) == MOST + 1


def _proof(mailbox: Mailbox) -> dict[str, str]:
    return {"token": mailbox.token(EmailVerificationRequested, EMAIL), "password": PASSWORD}
