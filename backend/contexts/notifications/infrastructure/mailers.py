"""`Mailer` over SMTP, and into a directory for development."""

from __future__ import annotations

import smtplib
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from urllib.parse import unquote, urlsplit

from backend.addresses import is_loopback
from backend.contexts.notifications.application.ports import Mail, Mailer, NotTaken, Undeliverable
from backend.contexts.notifications.infrastructure.composing import ascii_domain
from backend.contexts.notifications.infrastructure.mail_server import MailServer, Tls, mail_server
from backend.settings import ROOT

Compose = Callable[[Mail], EmailMessage]

_TIMEOUT = 10
"""Seconds for the connection, and for each answer of the server."""
_COMPLETED = range(200, 300)
"""Positive completion replies (RFC 5321, 4.2.1)."""
_NO_SUCH_ADDRESS = b"5.1."
"""Enhanced status codes (RFC 3463) that reject the address, not the mail or the sender."""


def mailer_of(mail_url: str, compose: Compose) -> Mailer:
    """The mailer that MAIL_URL names: `smtps://user:password@host:port`, `smtp://…`, or `file:directory`.

    A relative directory is below the project's root.
    """
    if mail_url.startswith("file:"):
        return FileMailer(ROOT / unquote(urlsplit(mail_url).path), compose)
    return SmtpMailer(mail_server(mail_url), compose)


class SmtpMailer:
    """Hands mails to a mail server, one connection each.

    With TLS its certificate must be valid (SSL_CERT_FILE names a private authority). Credentials are sent over TLS or
    to this machine only.
    """

    def __init__(self, server: MailServer, compose: Compose) -> None:
        self._server = server
        self._compose = compose

    def send(self, mail: Mail, last_step: AbstractContextManager[None]) -> None:
        """One SMTP transaction (RFC 5321). `last_step` is entered between RCPT and DATA.

        Raises:
            NotTaken: the server cannot be reached or refuses.
            Undeliverable: the server says that the address does not exist.
            SMTPServerDisconnected, OSError: the connection broke after the text was sent: the outcome is unknown.
        """
        message = self._compose(mail)
        recipient = ascii_domain(mail.to)
        with self._connected() as server:
            with _before_the_text():
                self._address(server, str(message["From"].addresses[0].addr_spec), recipient)
            with last_step:
                _hand_over(server, _bytes(message, cte_type="7bit"))

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        with _before_the_text():
            host, port = self._server.host, self._server.port
            server = (
                smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=ssl.create_default_context())
                if self._server.tls is Tls.IMPLICIT
                else smtplib.SMTP(host, port, timeout=_TIMEOUT)
            )
        try:
            with _before_the_text():
                self._introduce(server)
            yield server
        finally:
            _leave(server)

    def _introduce(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        encrypted = self._server.tls is Tls.IMPLICIT
        if self._server.tls is Tls.STARTTLS or (self._server.tls is Tls.OFFERED and server.has_extn("starttls")):
            if not server.has_extn("starttls"):
                raise NotTaken("the mail server offers no TLS: no mail is sent unencrypted")
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
            encrypted = True
        if self._server.user:
            if not (encrypted or is_loopback(self._server.host)):
                raise NotTaken("the mail server offers no TLS: the password is not sent")
            server.login(self._server.user, self._server.password)

    def _address(self, server: smtplib.SMTP, sender: str, recipient: str) -> None:
        if recipient.isascii():
            code, _ = server.mail(sender)
        elif server.has_extn("smtputf8"):
            code, _ = server.mail(sender, ["SMTPUTF8"])
        else:
            raise Undeliverable("the mail server accepts no non-ASCII address")
        _require(code, "the sender")
        code, answer = server.rcpt(recipient)
        if answer.startswith(_NO_SUCH_ADDRESS):
            raise Undeliverable("the mail server rejects the address")
        _require(code, "the recipient")


class FileMailer:
    """Writes each mail to a file of its own, completely or not at all."""

    def __init__(self, directory: Path, compose: Compose) -> None:
        self._directory = directory
        self._compose = compose

    def send(self, mail: Mail, last_step: AbstractContextManager[None]) -> None:
        """Write `<mail id>.eml` in the directory, which is created if it is missing."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._directory, suffix=".part", delete=False) as file:
            file.write(_bytes(self._compose(mail), cte_type="8bit"))
        unfinished = Path(file.name)
        try:
            with last_step:
                unfinished.replace(self._directory / f"{mail.id}.eml")
        finally:
            unfinished.unlink(missing_ok=True)


def _bytes(message: EmailMessage, cte_type: str) -> bytes:
    """The bytes to send; with non-ASCII headers only if the address is non-ASCII (RFC 6532)."""
    return message.as_bytes(policy=SMTP.clone(cte_type=cte_type, utf8=not str(message["To"]).isascii()))


@contextmanager
def _before_the_text() -> Iterator[None]:
    """Whatever fails here, nothing was sent. The library's exceptions quote addresses and answers; ours do not."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise NotTaken(f"the mail server answered {error.smtp_code}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise NotTaken(f"the mail server cannot be reached: {type(error).__name__}") from None


def _hand_over(server: smtplib.SMTP, text: bytes) -> None:
    try:
        code, _ = server.data(text)
    except smtplib.SMTPDataError as error:  # refused before the text
        code = error.smtp_code
    _require(code, "the text")


def _require(code: int, what: str) -> None:
    if code not in _COMPLETED:
        raise NotTaken(f"the mail server answered {code} to {what}")


def _leave(server: smtplib.SMTP) -> None:
    """Close the conversation. The outcome stands whether or not the server hears it."""
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        server.close()
