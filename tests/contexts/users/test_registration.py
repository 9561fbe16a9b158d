"""Registering over HTTP, as it is by default: the account is of use at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import CreateUser
from backend.contexts.users.domain.events import EmailVerificationRequested
from backend.contexts.users.domain.user import PersonName
from backend.kernel.messages.secret import Secret
from backend.program import Process
from tests.client import PASSWORD, Client
from tests.contexts.users.conftest import Mailbox, Person, Register
from tests.inline import InlineQueue, Postbox

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}
OMAR = {
    "first_name": "José Omar",
    "last_name": "Vegas",
    "middle_name": "Carrillo",
    "email": "omar41_41@hotmail.com",
    "password": "Probando@1",
    "gender": "M",
    "age": 26,
}
TEST_USER = {
    "email": "user@example.com",
    "username": "testuser",
    "password": "SecurePass123!",
    "confirm_password": "SecurePass123!",
    "full_name": "Test User",
    "phone_number": "+1234567890",
}


@pytest.mark.parametrize("path", ["/users", "/users/", "/auth/register", "/auth/register/"])
@pytest.mark.parametrize(
    ("body", "name", "parts"),
    [
        (ADA, "Ada", (None, None, None)),
        (OMAR, "José Omar Carrillo Vegas", ("José Omar", "Carrillo", "Vegas")),
        (TEST_USER, "Test User", (None, None, None)),
    ],
    ids=["ada", "omar", "testuser"],
)
def test_the_bodies_of_the_contract_work_as_they_stand(
    visitor: Client, path: str, body: dict[str, Any], name: str, parts: tuple[str | None, ...]
) -> None:
    created = visitor.post(path, body)
    assert created.status_code == 201
    assert created.headers["Location"] == f"/api/v1/users/{created.json['id']}"
    assert created.json["name"] == name
    assert (created.json["first_name"], created.json["middle_name"], created.json["last_name"]) == parts
    for field in ("email", "username", "phone_number", "gender", "age"):
        assert created.json[field] == body.get(field)
    state = [created.json[field] for field in ("roles", "is_active", "email_verified", "two_step", "version")]
    assert state == [[], True, False, False, 1]


def test_null_at_creation_is_the_same_as_absent(visitor: Client) -> None:
    nothing = dict.fromkeys(("full_name", "first_name", "username", "phone_number", "gender", "age"))
    assert visitor.post("/users", {**ADA, **nothing, "confirm_password": None}).status_code == 201


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": None}, "/email"),
        ({"email": "ada"}, "/email"),
        ({"email": "ada@"}, "/email"),
        ({"name": None}, "/name"),
        ({"name": None, "last_name": "Lovelace"}, "/first_name"),
        ({"name": "\u200b\u2060"}, "/name"),
        ({"name": "\u3164 \u2800"}, "/name"),
        ({"last_name": "\u200b"}, "/last_name"),
        ({"name": "Ada", "full_name": "Eve"}, "/full_name"),
        ({"confirm_password": "correct horse batterY"}, "/confirm_password"),
        ({"password": "1234567"}, "/password"),
        ({"password": "x" * 129}, "/password"),
        ({"password": "Password123"}, "/password"),
        ({"password": "ADA@example.com"}, "/password"),
        ({"password": "ada-lovelace", "username": "Ada-Lovelace"}, "/password"),
        ({"password": "Ada Lovelace", "name": "ada lovelace"}, "/password"),
        ({"password": 12345678}, "/password"),
        ({"password": None}, "/password"),
    ],
)
def test_what_cannot_be_registered_is_told_by_its_pointer(visitor: Client, change: Any, pointer: str) -> None:
    refused = visitor.post("/users", {**ADA, **change})
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert {error["pointer"] for error in refused.json["errors"]} == {pointer}


@pytest.mark.parametrize("field", ["name", "full_name", "first_name"])
def test_a_name_that_is_refused_is_not_also_said_to_be_missing(visitor: Client, field: str) -> None:
    refused = visitor.post("/users", {**ADA, "name": None, field: "Ada\u202eKing"})
    assert refused.json["errors"] == [{"pointer": f"/{field}", "detail": "Must not contain control characters."}]


def test_nobody_has_the_program_normalize_a_heap_of_combining_marks(visitor: Client) -> None:
    """A body full of them would take seconds, of every other request as well: whoever sent it is not even counted."""
    heap = "a" + "\u0301\u0316" * 16
    asked = [
        visitor.post("/users", {**ADA, "name": heap}),
        visitor.post("/users", {**ADA, "password": heap}),
        visitor.post("/auth/login", {"username": heap, "password": PASSWORD}),
        visitor.post("/auth/login", {"email": ADA["email"], "password": heap}),
        visitor.post("/auth/forgot-password", {"email": f"{heap}@example.com"}),
    ]
    for refused in asked:
        assert refused.status_code == 422
        (reason,) = refused.json["errors"]
        assert reason["detail"] == "Must not have more than 30 combining marks in a row."


@pytest.mark.parametrize("length", [8, 128])
def test_a_password_has_8_to_128_characters(visitor: Client, length: int) -> None:
    assert visitor.post("/users", {**ADA, "password": "ñ" * length}).status_code == 201


@pytest.mark.parametrize(
    ("first", "same"),
    [
        ("ada@example.com", "ADA@Example.COM"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
    ],
)
def test_an_address_is_taken_however_it_is_spelled(visitor: Client, first: str, same: str) -> None:
    assert visitor.post("/users", {**ADA, "email": first}).status_code == 201
    taken = visitor.post("/users", {**ADA, "email": same})
    assert (taken.status_code, taken.json["code"]) == (409, "email_taken")


def test_a_username_is_taken_in_any_case(ada: Person, visitor: Client) -> None:
    taken = visitor.post("/users", {**ADA, "email": "other@example.com", "username": "aDa"})
    assert (taken.status_code, taken.json["code"]) == (409, "username_taken")


class TestBesideOneAnother:
    @pytest.fixture
    def queue(self) -> Postbox:
        return Postbox()

    def test_of_many_who_register_one_address_at_once_one_gets_it(self, process: Process, queue: Postbox) -> None:
        commands = [CreateUser(uuid7(), PersonName("Ada"), "ada@example.com", Secret(PASSWORD)) for _ in range(8)]
        for command in commands:
            process.bus.dispatch(command, command.user_id)
        with ThreadPoolExecutor(8) as workers:
            list(workers.map(process.receiver.receive, queue.sent))
        outcomes = [process.bus.outcome_of(command.user_id) for command in commands]
        codes = sorted(str(outcome.problem and outcome.problem["code"]) for outcome in outcomes if outcome)
        assert codes == ["None"] + ["email_taken"] * 7


def test_the_handle_of_an_anonymous_registration_is_readable_by_whoever_holds_it(visitor: Client, ada: Person) -> None:
    accepted = visitor.post("/users", {**ADA, "email": "other@example.com"}, Prefer="respond-async")
    assert visitor.get(accepted.headers["Location"]).status_code == 200
    assert ada.get(accepted.headers["Location"]).status_code == 200


@pytest.mark.parametrize(
    ("accepts", "language"),
    [("es-MX,es;q=0.9,en;q=0.8", "es"), ("en-GB", "en"), ("fr", "en"), ("fr, es;q=0.1", "es"), ("", "en")],
)
def test_mails_are_in_the_language_of_the_registration(
    visitor: Client, mailbox: Mailbox, accepts: str, language: str
) -> None:
    visitor.post("/users", ADA, Accept_Language=accepts)
    (mail,) = mailbox.sent(EmailVerificationRequested, "ada@example.com")
    assert mail.language == language


def test_a_registration_asks_for_a_proof_of_the_address_that_no_queue_can_read(
    register: Register, mailbox: Mailbox, queue: InlineQueue
) -> None:
    user = register()
    token = mailbox.token(EmailVerificationRequested, user.email)
    everything = repr([envelope.body for envelope in queue.sent]) + repr(queue.announced)
    assert token not in everything
    assert PASSWORD not in everything


def test_a_password_is_in_no_column_as_it_was_given(ada: Person, sql: Any) -> None:
    assert PASSWORD not in repr(sql("select * from users").fetchall())
    assert PASSWORD not in repr(sql("select * from operations").fetchall())
