"""REQUIRE_EMAIL_VERIFICATION=true: nobody learns of an address but who reads its mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask

from backend.contexts.auth.domain.events import UnverifiedSignIn
from backend.contexts.users.application.queries import FindAccount, GetAccount, ProvePassword
from backend.contexts.users.domain.events import (
    EmailVerificationRequested,
    PasswordResetRequested,
    TakenEmailRegistered,
)
from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.message import SyncCommand
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.secret import Secret
from backend.program import Process
from tests.client import PASSWORD, Answer, Client
from tests.contexts.users.conftest import Mailbox, Person
from tests.inline import InlineQueue
from tests.worker import eventually

pytestmark = pytest.mark.parametrize("settings", [{"require_email_verification": True}], indirect=True)

EMAIL = "ada@example.com"
ADA = {"name": "Ada", "email": EMAIL, "password": PASSWORD, "username": "Ada"}


@dataclass(frozen=True)
class GiveRightPassword(SyncCommand[None]):
    """What another context makes of a sign-in with the right password."""

    user_id: UUID


sign_in = Handlers[UnitOfWork]("sign_in")


@sign_in.on(GiveRightPassword)
def give_right_password(command: GiveRightPassword, unit: UnitOfWork) -> None:
    unit.track(Aggregate()).record(UnverifiedSignIn(command.user_id))


@pytest.fixture
def contexts(contexts: Sequence[AnyContext]) -> Sequence[AnyContext]:
    return (*contexts, Context("sign_in", sign_in, lambda _resources, unit: unit))


def follow(client: Client, token: str, password: str = PASSWORD) -> Answer:
    """As the page behind a mailed link does, once it has asked for the password."""
    return client.post("/auth/verify-email", {"token": token, "password": password})


class Newcomers:
    """Those who register."""

    def __init__(self, app: Flask, mailbox: Mailbox) -> None:
        self._app = app
        self._client = Client(app)
        self._mailbox = mailbox

    def register(self, **fields: Any) -> tuple[str, str]:
        """The account's id and the token that was mailed."""
        body = {**ADA, **fields}
        accepted = self._client.post("/users", body)
        assert (accepted.status_code, accepted.json["status"]) == (202, "succeeded")
        user_id = accepted.json["resource"].rpartition("/")[2]
        return user_id, self._mailbox.token(EmailVerificationRequested, body["email"])

    def verified(self, **fields: Any) -> Person:
        """Somebody who has followed the link."""
        user_id, token = self.register(**fields)
        assert follow(self._client, token).status_code == 204
        admin = Client(self._app, f"{UUID(int=9)}:admin")
        return Person(self._app, admin.get(f"/users/{user_id}").json)


@pytest.fixture
def newcomers(app: Flask, mailbox: Mailbox) -> Newcomers:
    return Newcomers(app, mailbox)


def test_a_registration_answers_202_with_the_finished_operation_also_when_it_is_waited_for(visitor: Client) -> None:
    answer = visitor.post("/users", ADA)
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.headers["Location"] == f"/api/v1/operations/{answer.json['id']}"
    assert answer.json["status"] == "succeeded"
    assert visitor.get(answer.headers["Location"]).json == answer.json


def test_taken_and_free_addresses_are_answered_alike_and_the_owner_is_told_by_mail(
    newcomers: Newcomers, visitor: Client, mailbox: Mailbox
) -> None:
    owner = newcomers.verified()
    for path in ("/users", "/auth/register"):
        taken = visitor.post(path, {**ADA, "username": None}, Prefer="wait=10")
        free = visitor.post(path, {**ADA, "username": None, "email": f"free{len(path)}@example.com"})
        assert taken.status_code == free.status_code == 202
        assert set(taken.headers.keys()) == set(free.headers.keys())
        same = ("command", "status", "error")
        assert [taken.json[name] for name in same] == [free.json[name] for name in same]
        assert taken.json["resource"].startswith("/api/v1/users/")
        for answer in (taken, free):
            assert owner.get(answer.json["resource"]).status_code == 404
            assert visitor.get(answer.json["resource"]).status_code == 401
    assert len(mailbox.sent(TakenEmailRegistered, EMAIL)) == 2
    assert len(mailbox.sent(EmailVerificationRequested, EMAIL)) == 1


def test_an_unverified_account_is_seen_by_admins_only(newcomers: Newcomers, admin: Client) -> None:
    somebody = newcomers.verified(email="eve@example.com", username="Eve")
    user_id, token = newcomers.register()
    hidden = somebody.get(f"/users/{user_id}")
    assert (hidden.status_code, hidden.json["code"]) == (404, "user_not_found")
    assert admin.get(f"/users/{user_id}").json["email_verified"] is False
    assert user_id in [user["id"] for user in admin.get("/users").json["items"]]
    follow(somebody, token)
    assert somebody.get(f"/users/{user_id}").json["name"] == "Ada"


def test_a_username_is_taken_at_verification_if_still_free_else_there_is_none(
    newcomers: Newcomers, visitor: Client, admin: Client
) -> None:
    first, first_token = newcomers.register()
    second, second_token = newcomers.register(email="eve@example.com", username="ADA")
    assert [admin.get(f"/users/{user_id}").json["username"] for user_id in (first, second)] == [None, None]
    follow(visitor, second_token)
    assert follow(visitor, first_token).status_code == 204
    views = [admin.get(f"/users/{user_id}").json for user_id in (first, second)]
    assert [view["username"] for view in views] == [None, "ADA"]
    assert [view["email_verified"] for view in views] == [True, True]


def test_a_username_of_a_verified_account_is_told(newcomers: Newcomers, visitor: Client) -> None:
    newcomers.verified()
    for email in (EMAIL, "free@example.com"):
        refused = visitor.post("/users", {**ADA, "email": email})
        assert (refused.status_code, refused.json["status"]) == (202, "failed")
        assert (refused.json["error"]["status"], refused.json["error"]["code"]) == (409, "username_taken")


def test_of_several_registrations_the_one_whose_link_is_used_wins(
    newcomers: Newcomers, visitor: Client, admin: Client, bus: Bus
) -> None:
    first, first_token = newcomers.register(password="the first password")
    second, second_token = newcomers.register(password="the second password")
    assert follow(visitor, first_token, "the first password").status_code == 204
    late = follow(visitor, second_token, "the second password")
    assert (late.status_code, late.json["code"]) == (422, "invalid_link")
    assert admin.get(f"/users/{second}").status_code == 404
    found = bus.ask(FindAccount(email=EMAIL))
    assert found is not None
    assert (str(found.id), found.pending) == (first, False)


@pytest.fixture
def deadlocks_that_last(sql: Callable[..., Any]) -> Iterator[None]:
    """Two who wait for each other are not freed: it would only be seen as a second's delay."""
    alter = "do $$ begin execute 'alter database ' || quote_ident(current_database()) || ' {}'; end $$"
    sql(alter.format("set deadlock_timeout to ''1min''"))
    yield
    sql(alter.format("reset deadlock_timeout"))


@pytest.mark.usefixtures("deadlocks_that_last")
def test_of_two_links_for_one_address_followed_at_once_one_wins(
    newcomers: Newcomers, app: Flask, admin: Client, clean_database: str, sql: Callable[..., Any]
) -> None:
    (first, first_token), (_, second_token) = (newcomers.register(username=None) for _ in range(2))

    def waiting() -> int:
        ours = "select count(*) from pg_stat_activity where datname = current_database()"
        return int(sql(f"{ours} and wait_event_type = 'Lock'").fetchone()[0])

    with ThreadPoolExecutor(2) as readers:
        with psycopg.connect(clean_database) as somebody:
            somebody.execute("select from users where id = %s for update", (first,))
            followed = [readers.submit(follow, Client(app), first_token)]
            eventually(lambda: waiting() == 1)
            followed.append(readers.submit(follow, Client(app), second_token))
            eventually(lambda: waiting() == 2)
        assert [one.result().status_code for one in followed] == [204, 422]
    assert [user["id"] for user in admin.get(f"/users?email={EMAIL}").json["items"]] == [first]


def test_a_fresh_link_after_a_right_password_goes_out_at_most_once_an_hour(
    newcomers: Newcomers, bus: Bus, mailbox: Mailbox, visitor: Client, sql: Callable[..., Any]
) -> None:
    user_id, first = newcomers.register()
    for _ in range(3):
        bus.execute(GiveRightPassword(UUID(user_id)))
    assert len(mailbox.sent(EmailVerificationRequested, EMAIL)) == 2
    sql("update counters set times = array(select t - interval '1 hour' from unnest(times) t)")
    bus.execute(GiveRightPassword(UUID(user_id)))
    assert len(mailbox.sent(EmailVerificationRequested, EMAIL)) == 3
    assert follow(visitor, first).status_code == 422
    newest = mailbox.token(EmailVerificationRequested, EMAIL)
    assert follow(visitor, newest).status_code == 204
    bus.execute(GiveRightPassword(UUID(user_id)))
    assert len(mailbox.sent(EmailVerificationRequested, EMAIL)) == 3


def test_whoever_reads_the_mailbox_does_not_get_an_account_that_somebody_else_registered(
    newcomers: Newcomers, visitor: Client, mailbox: Mailbox, admin: Client
) -> None:
    """Victim registers, attacker registers the same address, the victim asks for the link again and follows it."""
    victims, first = newcomers.register(username=None)
    attackers, _ = newcomers.register(username=None, password="attacker's password")
    visitor.post("/auth/resend-verification", {"email": EMAIL})
    link = mailbox.token(EmailVerificationRequested, EMAIL)
    refused = visitor.post("/auth/verify-email", {"token": link})
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in refused.json["errors"]] == ["/password"]
    wrong = follow(visitor, link)
    assert (wrong.status_code, wrong.json["code"]) == (403, "wrong_password")
    assert admin.get(f"/users/{attackers}").json["email_verified"] is False
    assert follow(visitor, first).status_code == 204  # the link of the first mail is the victim's
    assert [user["id"] for user in admin.get(f"/users?email={EMAIL}").json["items"]] == [victims]


def test_a_wrong_password_leaves_the_link_valid_and_counts(newcomers: Newcomers, visitor: Client) -> None:
    _, token = newcomers.register()
    assert [follow(visitor, token, "wrong password").status_code for _ in range(4)] == [403] * 4
    assert follow(visitor, token).status_code == 204
    _, other = newcomers.register(email="eve@example.com", username=None)
    assert [follow(visitor, other, "wrong password").status_code for _ in range(5)] == [403] * 5
    assert follow(visitor, other).status_code == 429


def test_whoever_has_lost_the_password_of_a_registration_resets_it(
    newcomers: Newcomers, visitor: Client, mailbox: Mailbox, admin: Client, bus: Bus
) -> None:
    """A reset proves the mailbox as well, and clears other registrations of the address."""
    newcomers.register(username="Eve")
    newest, link = newcomers.register()
    visitor.post("/auth/forgot-password", {"email": EMAIL})
    token = mailbox.token(PasswordResetRequested, EMAIL)
    reset = visitor.post("/auth/reset-password", {"token": token, "new_password": "staple of the horse"})
    assert reset.status_code == 204, reset.json
    (user,) = admin.get(f"/users?email={EMAIL}").json["items"]
    assert (user["id"], user["email_verified"], user["username"]) == (newest, True, "Ada")
    assert bus.ask(ProvePassword(UUID(newest), Secret("staple of the horse"))) == 2
    assert follow(visitor, link).json["code"] == "invalid_link"


def test_of_those_who_forgot_the_password_the_one_who_has_the_address_gets_the_link(
    newcomers: Newcomers, visitor: Client, mailbox: Mailbox, bus: Bus
) -> None:
    owner = newcomers.verified()
    visitor.post("/users", {**ADA, "username": None, "password": "attacker's password"})
    visitor.post("/auth/forgot-password", {"email": EMAIL})
    token = mailbox.token(PasswordResetRequested, EMAIL)
    assert (
        visitor.post("/auth/reset-password", {"token": token, "new_password": "staple of the horse"}).status_code == 204
    )
    assert bus.ask(ProvePassword(UUID(owner.id), Secret("staple of the horse"))) == 2


def test_whoever_signs_in_by_address_is_the_one_who_has_it_before_those_who_wait(
    newcomers: Newcomers, bus: Bus, queue: InlineQueue
) -> None:
    waiting, _ = newcomers.register()
    newest, _ = newcomers.register()
    found = bus.ask(FindAccount(email="ADA@example.com"))
    assert found is not None
    assert (str(found.id), found.pending, found.email_verified) == (newest, True, False)
    assert bus.ask(FindAccount(username="Ada")) is None
    assert bus.ask(GetAccount(UUID(waiting))) is not None
    assert "hash" not in repr(found)


def test_a_registration_that_nobody_proves_is_forgotten_after_30_days(
    newcomers: Newcomers, visitor: Client, admin: Client, process: Process, sql: Callable[..., Any]
) -> None:
    proven = newcomers.verified()
    newcomers.register(email="eve@example.com", username=None)
    visitor.post("/users", {**ADA, "username": None})
    sql("update users set created_at = created_at - interval '30 days'")
    recent, _ = newcomers.register(email="new@example.com", username=None)
    process.purge()
    assert [user["id"] for user in admin.get("/users").json["items"]] == [recent, proven.id]


def test_an_address_that_waits_for_nothing_is_sent_no_further_link(
    newcomers: Newcomers, visitor: Client, mailbox: Mailbox
) -> None:
    newcomers.verified()
    visitor.post("/users", {**ADA, "username": None})
    visitor.post("/auth/resend-verification", {"email": EMAIL})
    assert len(mailbox.sent(EmailVerificationRequested, EMAIL)) == 1
