"""From a `Mail` to an e-mail message: text and HTML from one template, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime
from urllib.parse import urlencode

import idna
import jinja2
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from backend.contexts.notifications.application.ports import Mail, Template
from backend.kernel.messages.origin import current_origin
from backend.languages import LANGUAGES

_PATHS = {
    Template.VERIFY_EMAIL: "/verify-email",
    Template.CONFIRM_NEW_EMAIL: "/verify-email",
    Template.RESET_PASSWORD: "/reset-password",
}
"""The pages that accept a token, below FRONTEND_URL."""

# A line of ASCII text may have 998 characters (RFC 5322): a link stays whole and readable.
_LONG_LINES = SMTP.clone(max_line_length=998)


class Composer:
    """Composes mails.

    A text template is its subject, an empty line, and paragraphs; `layout.html` shows the same
    paragraphs, escaped, as HTML. A mail loads nothing from elsewhere.

    Args:
        sender: MAIL_FROM, an address with or without a name.
        links_lead_to: the address of the pages that take a token.
    """

    def __init__(self, sender: str, links_lead_to: str) -> None:
        self._sender = sender
        self._domain = sender.rpartition("@")[2].strip("> ") or "localhost"
        self._links_lead_to = links_lead_to
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("backend.contexts.notifications.infrastructure"),
            autoescape=jinja2.select_autoescape(),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def compose(self, mail: Mail) -> EmailMessage:
        """The message. Its Message-ID (RFC 5322) is derived from the mail's id, so the same mail has the same one."""
        language = language_of(mail.language)
        link = self._link(mail)
        values = {name: _one_line(value) for name, value in mail.values.items()}
        text = self._templates.get_template(f"{language}/{mail.template}.txt").render(values, link=link)
        subject, *paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
        message = EmailMessage(policy=_LONG_LINES)
        message["From"] = self._sender
        mailbox, _, domain = ascii_domain(mail.to).rpartition("@")
        message["To"] = Address(username=mailbox, domain=domain)
        message["Subject"] = subject
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = f"<{mail.id}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: auto-responders do not answer it
        if request_id := current_origin.get().request_id:
            message["X-Request-ID"] = request_id
        message.set_content("\n\n".join(paragraphs) + "\n")
        message.add_alternative(self._html(language, subject, paragraphs, link, values), subtype="html")
        message["Content-Language"] = language
        return message

    def _html(self, language: str, subject: str, paragraphs: list[str], link: str, values: Mapping[str, object]) -> str:
        page = self._templates.get_template("layout.html")
        return page.render(
            language=language, subject=subject, paragraphs=paragraphs, link=link, code=values.get("code", "")
        )

    def _link(self, mail: Mail) -> str:
        return f"{self._links_lead_to}{_PATHS[mail.template]}?{urlencode({'token': mail.token})}" if mail.token else ""


def language_of(preference: str) -> str:
    """The language of ours that a language tag or an Accept-Language header prefers (RFC 9110)."""
    return parse_accept_header(preference, LanguageAccept).best_match(LANGUAGES, LANGUAGES[0])


def ascii_domain(address: str) -> str:
    """The address with its domain in ASCII, as in DNS (RFC 5891)."""
    mailbox, _, domain = address.rpartition("@")
    return address if domain.isascii() else f"{mailbox}@{idna.encode(domain, uts46=True).decode()}"


def _one_line(value: object) -> str | None:
    return None if value is None else " ".join(str(value).split())
