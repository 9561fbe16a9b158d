"""The settings of the notifications context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from backend.addresses import UnreadableAddress, is_loopback, is_private, web_address_problem
from backend.contexts.notifications.infrastructure.mail_server import Tls, mail_server
from backend.settings import Environment


@dataclass(frozen=True, repr=False)
class MailSettings:
    """The mail server and the sender."""

    mail_url: str
    """`smtps://user:password@host:port`, `smtp://…` (with STARTTLS), or `file:directory`: one `.eml` each."""
    mail_from: str
    frontend_url: str = ""
    """Where links in mails lead; empty: to pages of the API, below PUBLIC_URL."""

    @classmethod
    def load(cls, environment: Environment) -> Self:
        """Load them from the environment."""
        mail_url = environment.private("MAIL_URL", "file:var/mail" if environment.developing else "")
        frontend_url = environment.read.str("FRONTEND_URL", "").rstrip("/")
        return cls(mail_url, environment.read.str("MAIL_FROM", "no-reply@example.com"), frontend_url)

    def problems(self, *, production: bool) -> Iterator[str]:
        """Every reason not to start with them."""
        if self.frontend_url:
            web = web_address_problem("FRONTEND_URL", self.frontend_url, production=production)
            if web is not None:
                yield web
        if self.mail_url.startswith("file:"):
            if production:
                yield "MAIL_URL must be a mail server: with file: no mail is sent"
        elif self.mail_url:
            yield from _server_problems(self.mail_url, production=production)
        elif production:
            yield "MAIL_URL is missing"


def _server_problems(mail_url: str, *, production: bool) -> Iterator[str]:
    try:
        server = mail_server(mail_url)
    except UnreadableAddress as problem:
        yield f"MAIL_URL {problem}"
        return
    if production and server.tls is Tls.NONE and not (is_loopback(server.host) or is_private(server.host)):
        yield "MAIL_URL has tls=none for a server that is not on a private network: links would be sent unencrypted"
