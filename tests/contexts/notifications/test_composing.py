"""What a mail looks like to the one who reads it, and to the programs on its way."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import UUID

import pytest

from backend.contexts.notifications.application.ports import Mail, Template
from backend.contexts.notifications.infrastructure import composing
from backend.contexts.notifications.infrastructure.composing import Composer, language_of
from backend.kernel.messages.origin import Origin, current_origin
from backend.languages import LANGUAGES
from backend.settings import ROOT

MAIL_ID = UUID("01900000-0000-5000-8000-00000000000a")
TOKEN = "t" * 180 + ".-_"
VALUES = {"code": "123456", "ip": "192.0.2.7", "name": "Laptop HP", "sku": "HP-15", "stock": 3, "threshold": 5}
WITH_LINK = {
    Template.VERIFY_EMAIL: "/verify-email",
    Template.CONFIRM_NEW_EMAIL: "/verify-email",
    Template.RESET_PASSWORD: "/reset-password",
}
COMPOSER = Composer("Shop <no-reply@shop.example>", "https://shop.example")


def composed(template: Template = Template.RESET_PASSWORD, language: str = "en", **values: object) -> EmailMessage:
    token = TOKEN if template in WITH_LINK else ""
    return COMPOSER.compose(Mail(MAIL_ID, template, "ada@example.com", language, token, {**VALUES, **values}))


def text_of(message: EmailMessage, kind: str) -> str:
    """A part of the message after its way over the wire."""
    body = message_from_bytes(message.as_bytes(policy=SMTP), policy=default).get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_every_mail_is_written_in_every_language() -> None:
    templates = Path(composing.__file__).with_name("templates")
    texts = [templates / language / f"{template}.txt" for language in LANGUAGES for template in Template]
    missing = [str(text.relative_to(ROOT)) for text in texts if not text.exists()]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", Template)
def test_every_mail_says_the_same_in_text_and_in_html(template: Template, language: str) -> None:
    message = composed(template, language)
    text, html = text_of(message, "plain"), text_of(message, "html")
    assert message["Subject"]
    for paragraph in text.strip().replace("\r\n", "\n").split("\n\n"):
        assert paragraph in html
    assert f'<html lang="{language}">' in html
    assert message["Content-Language"] == language


@pytest.mark.parametrize("template", Template)
def test_every_mail_is_told_in_other_words_in_another_language(template: Template) -> None:
    subjects = {composed(template, language)["Subject"] for language in LANGUAGES}
    assert len(subjects) == len(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("template", "path"), WITH_LINK.items())
def test_the_link_leads_to_the_public_address_with_the_token(template: Template, path: str, language: str) -> None:
    """Auth: "mail with a link token"."""
    message, link = composed(template, language), f"https://shop.example{path}?token={TOKEN}"
    assert link in text_of(message, "plain").splitlines()
    assert f'href="{link}"' in text_of(message, "html")


def test_a_link_stays_whole_in_the_raw_text_of_an_english_mail() -> None:
    assert f"https://shop.example/reset-password?token={TOKEN}" in composed().as_string().splitlines()


@pytest.mark.parametrize("template", Template)
def test_an_html_mail_loads_nothing(template: Template) -> None:
    html = text_of(composed(template), "html")
    assert not re.search(r"<(img|link|script|iframe|object|form)\b|\bsrc=|url\(|@import", html)


def test_what_people_write_is_text_in_html_too() -> None:
    html = text_of(composed(Template.STOCK_LOW, name="<b>Laptop</b> & more"), "html")
    assert "&lt;b&gt;Laptop&lt;/b&gt; &amp; more" in html
    assert "<b>" not in html


def test_what_people_write_cannot_add_a_header() -> None:
    message = composed(Template.STOCK_LOW, name="Laptop\r\nBcc: everybody@example.com\r\n\r\nBuy now")
    arrived = message_from_bytes(message.as_bytes(policy=SMTP), policy=default)
    assert arrived["Bcc"] is None
    assert arrived["Subject"] == "Low stock: Laptop Bcc: everybody@example.com Buy now"


def test_an_address_cannot_add_a_header() -> None:
    mail = Mail(MAIL_ID, Template.PASSWORD_CHANGED, "ada@example.com\r\nBcc: everybody@example.com")
    with pytest.raises(ValueError):  # noqa: PT011 - the standard library's, and its text does not matter
        COMPOSER.compose(mail)


def test_a_mail_names_itself_its_time_and_the_request_that_caused_it() -> None:
    """Conventions: the request id "is on every log line of API, worker and mail that the request causes"."""
    token = current_origin.set(Origin(request_id="req-1"))
    try:
        message = composed()
    finally:
        current_origin.reset(token)
    assert message["Message-ID"] == f"<{MAIL_ID}@shop.example>"
    assert message["X-Request-ID"] == "req-1"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == "Shop <no-reply@shop.example>"
    assert message["To"] == "ada@example.com"
    assert parsedate_to_datetime(message["Date"]).tzinfo is not None


def test_an_international_domain_is_spelled_as_dns_has_it() -> None:
    message = COMPOSER.compose(Mail(MAIL_ID, Template.PASSWORD_CHANGED, "ada@bücher.example"))
    assert message["To"] == "ada@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("preference", "language"),
    [("es", "es"), ("es-MX,es;q=0.9,en;q=0.8", "es"), ("en-GB", "en"), ("fr", "en"), ("", "en"), ("\x00;;q=", "en")],
)
def test_whoever_reads_no_language_of_ours_gets_english(preference: str, language: str) -> None:
    assert language_of(preference) == language
