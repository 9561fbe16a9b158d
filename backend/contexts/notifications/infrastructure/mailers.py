"""`Mailer` over SMTP, and into a directory for development."""

from __future__ import annotations

import re
import smtplib
import ssl
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from io import BufferedReader, RawIOBase
from pathlib import Path
from socket import socket
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from opentelemetry.trace import SpanKind

from backend.addresses import is_loopback
from backend.contexts.notifications.application.ports import (
    Deferred,
    HandedOver,
    Mail,
    Mailer,
    NotTaken,
    ServerAway,
    Undeliverable,
)
from backend.contexts.notifications.infrastructure.composing import ascii_domain
from backend.contexts.notifications.infrastructure.mail_server import MailServer, Tls, mail_server
from backend.kernel.breaker import Breaker
from backend.kernel.observe.tracing import part
from backend.settings import ROOT

Compose = Callable[[Mail], EmailMessage]

_STEP = 10.0
"""Seconds for the connection, and for each answer of the server."""
_CONVERSATION = 25.0
"""Seconds for everything before the text. The handler's limit is 60."""
_TEXT = 25.0
"""Seconds for the text, and for the answer to it: a server may look for viruses first."""
_OUTAGE = 10.0
"""Seconds between two tries of a process to reach a server that is away."""
_COMPLETED = range(200, 300)
_START_TEXT = 354
_CLOSES = 421
_NOT_NOW = range(400, 500)
"""Replies (RFC 5321, 4.2.1): done; send the text; the server closes the connection; try again later."""
_NO_SUCH_ADDRESS = b"5.1."
"""Enhanced status codes (RFC 3463) that reject the address, not the mail or the sender."""


log = structlog.get_logger(__name__)


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
    to this machine only. A server that was away a moment ago is not asked: its mails cost no process any time.
    """

    def __init__(self, server: MailServer, compose: Compose) -> None:
        self._server = server
        self._compose = compose
        self._breaker = Breaker("mail", _OUTAGE)

    def send(self, mail: Mail, last_step: AbstractContextManager[None]) -> None:
        """One SMTP transaction (RFC 5321). `last_step` is entered between RCPT and DATA.

        Raises:
            ServerAway: the server cannot be reached, or refuses the login.
            Deferred: the server answers "not now" to this mail.
            NotTaken: the server refuses this mail.
            Undeliverable: the server says that the address does not exist.
            SMTPServerDisconnected, OSError: the connection broke after the text was sent: the outcome is unknown.
        """
        if not self._breaker.allows():
            raise ServerAway("the mail server was away a moment ago")
        message = self._compose(mail)
        recipient = ascii_domain(mail.to)
        server_span = part("send mail", SpanKind.CLIENT, network_protocol_name="smtp", server_address=self._server.host)
        with server_span, self._watched(), self._connected() as server:
            with _before_the_text():
                self._address(server, str(message["From"].addresses[0].addr_spec), recipient)
            with last_step:
                _hand_over(server, _bytes(message, cte_type="7bit"))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note whether the server is there. An outage is logged when it begins and when it ends."""
        try:
            yield
        except (ServerAway, OSError) as error:
            reason = str(error) if isinstance(error, ServerAway) else type(error).__name__
            if self._breaker.failed():
                log.warning("the mail server is away: mails wait", reason=reason)
            raise
        except (Deferred, NotTaken, Undeliverable, HandedOver):
            self._note_answer()
            raise
        self._note_answer()

    def _note_answer(self) -> None:
        if self._breaker.succeeded():
            log.info("the mail server is back")

    @contextmanager
    def _connected(self) -> Iterator[_Client]:
        with _before_the_text():
            host, port = self._server.host, self._server.port
            server = (
                _SmtpTls(host, port, timeout=_STEP, context=ssl.create_default_context())
                if self._server.tls is Tls.IMPLICIT
                else _Smtp(host, port, timeout=_STEP)
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
                raise ServerAway("the mail server offers no TLS: no mail is sent unencrypted")
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
            encrypted = True
        if self._server.user:
            if not (encrypted or is_loopback(self._server.host)):
                raise ServerAway("the mail server offers no TLS: the password is not sent")
            self._log_in(server)

    def _log_in(self, server: smtplib.SMTP) -> None:
        user, password = self._server.user, self._server.password
        if (user + password).isascii():
            server.login(user, password)
            return
        token = b64encode(f"\0{user}\0{password}".encode())  # the library encodes ASCII only
        code, answer = server.docmd("AUTH", f"PLAIN {token.decode()}")
        if code not in _COMPLETED:
            raise smtplib.SMTPAuthenticationError(code, answer)

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
        raise ServerAway(f"the mail server answered {error.smtp_code}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise ServerAway(f"the mail server cannot be reached: {type(error).__name__}") from None


def _hand_over(server: _Client, text: bytes) -> None:
    with _before_the_text():
        code, _ = server.docmd("DATA")
    if code != _START_TEXT:
        _require(code, "the text")
        raise ServerAway(f"the mail server answered {code} to the text")
    # As `smtplib` does it, which does not tell whether an error came before the text or after it.
    server.begin_text()
    server.send(re.sub(rb"(?m)^\.", b"..", text) + b".\r\n")
    code, _ = server.getreply()
    _require(code, "the text")


def _require(code: int, what: str) -> None:
    if code in _COMPLETED:
        return
    answer = f"the mail server answered {code} to {what}"
    if code == _CLOSES:
        raise ServerAway(answer)
    raise Deferred(answer) if code in _NOT_NOW else NotTaken(answer)


class _Deadline:
    """smtplib's client with a deadline for the whole conversation: each of a dozen steps may take nearly its limit, and
    an answer may have any number of lines.
    """

    sock: Any
    file: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._step, self._until = _STEP, monotonic() + _CONVERSATION
        super().__init__(*arguments, **options)

    def begin_text(self) -> None:
        """The text and its answer have a limit of their own."""
        self._step, self._until = _TEXT, monotonic() + _TEXT
        self.sock.settimeout(_TEXT)

    def getreply(self) -> tuple[int, bytes]:
        """The server's next answer."""
        if self.file is None:
            self.file = BufferedReader(_Timely(self.sock))
        self.file.raw.until = min(monotonic() + self._step, self._until)
        answer: tuple[int, bytes] = super().getreply()  # type: ignore[misc]
        return answer


class _Timely(RawIOBase):
    """What a server sends, up to a time."""

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self.until = 0.0

    def readable(self) -> bool:
        """As `BufferedReader` asks for."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        self._connection.settimeout(max(self.until - monotonic(), 0.001))
        return self._connection.recv_into(buffer)


class _Smtp(_Deadline, smtplib.SMTP):
    """Without encryption, or with STARTTLS."""


class _SmtpTls(_Deadline, smtplib.SMTP_SSL):
    """With TLS from the first byte."""


_Client = _Smtp | _SmtpTls


def _leave(server: smtplib.SMTP) -> None:
    """Close the conversation. The outcome stands whether or not the server hears it."""
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        server.close()
