"""The pages of the API that mailed links lead to, without JavaScript, as a browser sends their forms."""

from __future__ import annotations

import re

import pytest

from backend.contexts.users.domain.events import EmailVerificationRequested, PasswordResetRequested
from backend.contexts.users.infrastructure import link_pages
from backend.languages import LANGUAGES
from backend.program import Program
from tests.client import PASSWORD, Answer, Client
from tests.contexts.users.conftest import Mailbox, Person, Register
from tests.inline import InlineQueue
from tests.settings import settings_with

NEW = "staple of the horse"
VERIFY, RESET = "/verify-email", "/reset-password"
REQUIRED = pytest.mark.parametrize("settings", [{"require_email_verification": True}], indirect=True)


def opened(visitor: Client, path: str, token: str, language: str = "en") -> Answer:
    return visitor.open("GET", f"{path}?token={token}", {"Accept-Language": language})


def sent(visitor: Client, path: str, language: str = "en", **fields: str) -> Answer:
    return visitor.open("POST", path, {"Accept-Language": language}, data=fields)


@pytest.mark.parametrize("path", [VERIFY, RESET])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_for_a_person_and_runs_nothing_and_is_kept_by_nobody(
    visitor: Client, path: str, language: str
) -> None:
    page = opened(visitor, path, "a.token", language)
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    assert f'<html lang="{language}">' in page.text
    assert 'value="a.token"' in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "form-action 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "<script" not in page.text
    for named in re.findall(r'<input id="([^"]+)"', page.text):
        assert f'<label for="{named}">' in page.text


def test_every_page_has_its_texts_in_every_language() -> None:
    pages = {name: getattr(link_pages, name) for name in ("VERIFY", "RESET", "ERRORS")}
    missing = sorted(
        f"{name}[{language!r}][{text!r}]"
        for name, texts in pages.items()
        for language in LANGUAGES
        for text in texts[LANGUAGES[0]].keys() - texts.get(language, {}).keys()
    )
    assert not missing, "\n".join(missing)


def test_what_a_link_carries_is_text_on_the_page(visitor: Client) -> None:
    page = opened(visitor, VERIFY, "%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script" not in page.text


def test_opening_a_link_does_nothing_and_the_button_confirms(ada: Person, visitor: Client, mailbox: Mailbox) -> None:
    token = mailbox.token(EmailVerificationRequested, ada.email)
    opened(visitor, VERIFY, token)
    assert ada.get("/users/me").json["email_verified"] is False
    done = sent(visitor, VERIFY, token=token)
    assert (done.status_code, "Your address is confirmed" in done.text) == (200, True)
    assert ada.get("/users/me").json["email_verified"] is True
    again = sent(visitor, VERIFY, "es", token=token)
    assert (again.status_code, "ya no es válido" in again.text) == (422, True)


@REQUIRED
def test_the_link_of_a_registration_asks_for_its_password(visitor: Client, mailbox: Mailbox) -> None:
    body = {"name": "Ada", "email": "new@example.com", "password": PASSWORD}
    visitor.post("/users", body)
    token = mailbox.token(EmailVerificationRequested, "new@example.com")
    assert 'type="password"' in opened(visitor, VERIFY, token).text
    without = sent(visitor, VERIFY, token=token)
    assert (without.status_code, "Enter the password" in without.text) == (422, True)
    wrong = sent(visitor, VERIFY, token=token, password="another pass phrase")
    assert (wrong.status_code, "The password is incorrect" in wrong.text) == (403, True)
    assert sent(visitor, VERIFY, token=token, password=PASSWORD).status_code == 200


def test_a_password_is_replaced_on_the_page(register: Register, visitor: Client, mailbox: Mailbox) -> None:
    ada = register(email="ada@example.com")
    visitor.post("/auth/forgot-password", {"email": ada.email})
    token = mailbox.token(PasswordResetRequested, ada.email)
    short = sent(visitor, RESET, token=token, new_password="short")
    assert (short.status_code, "8 to 128 characters" in short.text) == (422, True)
    assert "short" not in short.text
    assert sent(visitor, RESET, token=token, new_password=NEW).status_code == 200
    assert visitor.sign_in(ada.email, NEW).status_code == 200


@pytest.mark.parametrize("path", [VERIFY, RESET])
@pytest.mark.parametrize("token", ["forged", ""], ids=["forged", "cut"])
def test_a_link_that_is_not_good_says_so(visitor: Client, path: str, token: str) -> None:
    answer = sent(visitor, path, token=token, new_password=NEW)
    assert (answer.status_code, "no longer valid" in answer.text) == (422, True)
    assert 'role="alert"' in answer.text


def test_while_the_database_is_away_a_person_reads_a_page_and_may_try_again() -> None:
    queue = InlineQueue()
    process = Program(settings_with(database_url="postgresql://127.0.0.1:1/none")).process(queue)
    answer = sent(Client(process.web()), VERIFY, token="a.token")
    assert (answer.status_code, "Try again later" in answer.text) == (503, True)
    assert 'value="a.token"' in answer.text
    process.close()
