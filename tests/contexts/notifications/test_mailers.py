"""Mails on their way into a mailbox: what a mail server gets, and what becomes of its answers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from backend.contexts.notifications.application.ports import (
    Deferred,
    HandedOver,
    Mail,
    Mailer,
    NotTaken,
    ServerAway,
    Template,
    Undeliverable,
)
from backend.contexts.notifications.infrastructure import mailers
from backend.contexts.notifications.infrastructure.composing import Composer
from backend.contexts.notifications.infrastructure.mail_server import MailServer as SmtpServer
from backend.contexts.notifications.infrastructure.mail_server import Tls, mail_server
from backend.contexts.notifications.infrastructure.mailers import SmtpMailer, mailer_of
from tests import certificates
from tests.smtp import STEPS, HangingServer
from tests.worker import eventually

ADA = "ada@example.com"
MAIL = Mail(UUID("01900000-0000-5000-8000-00000000000a"), Template.RESET_PASSWORD, ADA, "es", "the-token")
COMPOSER = Composer("Shop <no-reply@shop.example>", "https://shop.example")


@dataclass
class MailServer:
    """A mail server's manners.

    Attributes:
        answers: what it says instead of yes, by SMTP command.
        hangs_up: whether it closes the connection once it has the text, and says nothing.
        credentials: what it was given, in the clear or over TLS.
    """

    answers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool = False
    envelopes: list[Envelope] = field(default_factory=list)
    credentials: list[Any] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if "DATA" not in self.answers:
            self.envelopes.append(envelope)
        if self.hangs_up:
            cast("Any", server).transport.abort()
        return self.answers.get("DATA", "250 OK")

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: Any) -> AuthResult:
        self.credentials.append((data.login, data.password))
        return AuthResult(success=data.password == b"p@ss", handled=False)

    def message(self) -> EmailMessage:
        """The one message it got."""
        (envelope,) = self.envelopes
        return message_from_bytes(cast("bytes", envelope.content), policy=default)


class AnyPort(Controller):
    """A server on a port that the system chose."""

    def _trigger_server(self) -> None:
        self.port = cast("Any", self.server).sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


Serve = Callable[..., int]


@pytest.fixture
def server() -> MailServer:
    return MailServer()


@pytest.fixture
def serve(server: MailServer) -> Iterator[Serve]:
    """Start the server; returns its port."""
    controllers: list[Controller] = []

    def start(**options: Any) -> int:
        controller = AnyPort(server, hostname="127.0.0.1", port=0, **options)
        controller.start()
        controllers.append(controller)
        return controller.port

    yield start
    for controller in controllers:
        controller.stop()


def send(port: int, mail: Mail = MAIL, last_step: AbstractContextManager[None] | None = None, user: str = "") -> None:
    mailer = mailer_of(f"smtp://{user}127.0.0.1:{port}", COMPOSER.compose)
    mailer.send(mail, last_step or nullcontext())


def test_a_mail_server_gets_the_whole_mail(server: MailServer, serve: Serve) -> None:
    send(serve())
    assert (server.envelopes[0].mail_from, server.envelopes[0].rcpt_tos) == ("no-reply@shop.example", [ADA])
    assert server.message()["Message-ID"] == f"<{MAIL.id}@shop.example>"
    text = server.message().get_body(("plain",))
    assert text is not None
    assert "https://shop.example/reset-password?token=the-token" in text.get_content()
    assert "contraseña" in text.get_content()


def test_a_server_that_knows_nothing_beyond_ascii_gets_nothing_beyond_it(server: MailServer, serve: Serve) -> None:
    send(serve(enable_SMTPUTF8=False))
    assert cast("bytes", server.envelopes[0].content).isascii()


def test_an_address_beyond_ascii_reaches_a_server_that_takes_it(server: MailServer, serve: Serve) -> None:
    mail = Mail(MAIL.id, Template.PASSWORD_CHANGED, "josé@bücher.example")
    send(serve(enable_SMTPUTF8=True), mail)
    assert server.envelopes[0].rcpt_tos == ["josé@xn--bcher-kva.example"]
    with pytest.raises(Undeliverable):
        send(serve(enable_SMTPUTF8=False), mail)


def test_the_credentials_of_the_mail_url_open_the_server(server: MailServer, serve: Serve) -> None:
    port = serve(authenticator=server.authenticate, auth_require_tls=False)
    send(port, user="shop:p%40ss@")
    assert server.credentials == [(b"shop", b"p@ss")]
    assert server.envelopes


def test_a_password_may_have_any_characters(server: MailServer, serve: Serve) -> None:
    """RFC 4616: in UTF-8. The library knows ASCII only."""
    password = "p\u00e4/:@;%2F #?\u20ac"
    with pytest.raises(ServerAway, match=r"^the mail server answered 535$"):
        send(
            serve(authenticator=server.authenticate, auth_require_tls=False),
            user=f"sh\u00f6p:{quote(password, safe='')}@",
        )
    assert server.credentials == [("sh\u00f6p".encode(), password.encode())]


def test_wrong_credentials_are_a_fault_that_does_not_tell_them(server: MailServer, serve: Serve) -> None:
    port = serve(authenticator=server.authenticate, auth_require_tls=False)
    with pytest.raises(ServerAway, match=r"^the mail server answered 535$"):
        send(port, user="shop:wrong@")


def test_a_certificate_nobody_vouches_for_ends_the_conversation(
    server: MailServer, serve: Serve, self_signed: ssl.SSLContext
) -> None:
    """STARTTLS is used when offered, and then it has to be good: no password goes to an impostor."""
    port = serve(authenticator=server.authenticate, tls_context=self_signed)
    with pytest.raises(ServerAway, match="SSLCertVerificationError"):
        send(port, user="shop:p%40ss@")
    assert not server.credentials


def test_tls_is_used_when_the_server_offers_it(
    server: MailServer, serve: Serve, self_signed: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    send(serve(tls_context=self_signed, require_starttls=True))
    assert server.envelopes


def test_nothing_is_sent_in_the_clear_to_a_server_that_offers_no_tls(server: MailServer, serve: Serve) -> None:
    """Somebody on the way can take STARTTLS out of its answer, and would read the link in the mail."""
    mailer = SmtpMailer(SmtpServer("127.0.0.1", serve(), Tls.STARTTLS), COMPOSER.compose)
    with pytest.raises(ServerAway, match="no TLS"):
        mailer.send(MAIL, nullcontext())
    assert not server.envelopes


@pytest.mark.parametrize(
    ("mail_url", "tls"),
    [
        ("smtps://mail.example.com", Tls.IMPLICIT),
        ("smtp://mail.example.com", Tls.STARTTLS),
        ("smtp://mail.example.com?tls=none", Tls.NONE),
        ("smtp://localhost", Tls.OFFERED),
    ],
)
def test_a_mail_server_is_asked_for_tls_unless_it_is_on_this_machine_or_trusted(mail_url: str, tls: Tls) -> None:
    assert mail_server(mail_url).tls is tls


def test_smtps_is_tls_from_the_first_byte(
    server: MailServer, serve: Serve, self_signed: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mailer = mailer_of(f"smtps://127.0.0.1:{serve(ssl_context=self_signed)}", COMPOSER.compose)
    mailer.send(MAIL, nullcontext())
    assert server.envelopes


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "refusal"),
    [("421 shutting down, {}", ServerAway), ("451 not now, {}", Deferred), ("550 5.7.1 {} is not welcome", NotTaken)],
)
def test_a_mail_that_is_turned_away_was_not_sent_and_may_be_sent_later(
    server: MailServer, serve: Serve, command: str, answer: str, refusal: type[Exception]
) -> None:
    server.answers[command] = answer.format(ADA)
    port, noted = serve(), Noted()
    with pytest.raises(refusal) as turned_away:
        send(port, last_step=noted.step())
    assert ADA not in f"{turned_away.value!r}"
    assert turned_away.value.__cause__ is None
    assert noted.outcome != "sent"

    server.answers.clear()
    send(port)
    assert len(server.envelopes) == 1


def test_an_address_that_does_not_exist_is_undeliverable(server: MailServer, serve: Serve) -> None:
    server.answers["RCPT"] = f"550 5.1.1 <{ADA}>: no such user"
    with pytest.raises(Undeliverable) as refused:
        send(serve())
    assert ADA not in f"{refused.value!r}"


def test_a_server_that_is_away_has_not_taken_the_mail(serve: Serve) -> None:
    noted = Noted()
    with pytest.raises(ServerAway, match="ConnectionRefusedError"):
        send(1, last_step=noted.step())
    assert noted.outcome == "never entered"


def test_a_connection_that_breaks_after_the_text_is_no_refusal(server: MailServer, serve: Serve) -> None:
    """Whether that mail arrived nobody can say: it must not look as if it had not been taken."""
    server.hangs_up = True
    noted = Noted()
    with pytest.raises(OSError) as broken:  # noqa: PT011 - smtplib's are OSErrors too
        send(serve(), last_step=noted.step())
    assert ADA not in str(broken.value)
    assert noted.outcome == "in doubt"


def test_nothing_is_sent_when_another_delivery_was_quicker(server: MailServer, serve: Serve) -> None:
    with pytest.raises(HandedOver):
        send(serve(), last_step=_Quicker())
    assert not server.envelopes


def test_each_mail_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    mailer = mailer_of(f"file:{tmp_path}/mail", COMPOSER.compose)
    mailer.send(MAIL, nullcontext())
    (file,) = (tmp_path / "mail").iterdir()
    message = message_from_bytes(file.read_bytes(), policy=default)
    assert (file.suffix, message["To"]) == (".eml", ADA)
    assert b"/reset-password?token=the-token\r\n" in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


def test_a_mail_that_is_not_handed_over_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(HandedOver):
        mailer_of(f"file:{tmp_path}", COMPOSER.compose).send(MAIL, _Quicker())
    assert list(tmp_path.iterdir()) == []


class Noted:
    """What a ledger would learn of a mail's last step."""

    def __init__(self) -> None:
        self.outcome = "never entered"

    @contextmanager
    def step(self) -> Iterator[None]:
        self.outcome = "in doubt"
        try:
            yield
        except (NotTaken, ServerAway, Deferred):
            self.outcome = "not taken"
            raise
        self.outcome = "sent"


class _Quicker(AbstractContextManager[None]):
    """The last step of a mail that another delivery has taken."""

    def __enter__(self) -> None:
        raise HandedOver

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for 127.0.0.1, signed by nobody else."""
    return certificates.self_signed(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="session")
def self_signed(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second for each step, and for an outage."""
    for name in ("_STEP", "_TEXT", "_OUTAGE"):
        monkeypatch.setattr(mailers, name, 0.1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("step", [step for step in STEPS if step != "text"])
def test_a_server_that_hangs_before_the_text_has_not_taken_the_mail(step: str) -> None:
    noted = Noted()
    with HangingServer(step) as hanging, pytest.raises(ServerAway, match="cannot be reached"):
        send(hanging.port, last_step=noted.step(), user="shop:p%40ss@")
    assert noted.outcome in ("never entered", "not taken")


@pytest.mark.usefixtures("impatient")
def test_a_server_that_hangs_after_the_text_leaves_doubt() -> None:
    noted = Noted()
    with HangingServer("text") as hanging, pytest.raises(OSError):  # noqa: PT011 - smtplib's are OSErrors too
        send(hanging.port, last_step=noted.step())
    assert noted.outcome == "in doubt"


def test_all_steps_together_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that needs nearly each step's limit for each step must not hold a process for all of them."""
    monkeypatch.setattr(mailers, "_STEP", 3600)
    monkeypatch.setattr(mailers, "_CONVERSATION", 0.1)
    with HangingServer("MAIL") as slow, pytest.raises(ServerAway):
        send(slow.port)


@pytest.mark.parametrize("step", ["greeting", "EHLO", "RCPT"])
def test_a_server_whose_answer_never_ends_is_left(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Each line arrives in time, and the last one never does."""
    monkeypatch.setattr(mailers, "_CONVERSATION", 0.5)
    with HangingServer(step, drips=True) as tar_pit, pytest.raises(ServerAway, match="cannot be reached"):
        send(tar_pit.port)


def test_a_server_whose_answer_to_the_text_never_ends_leaves_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailers, "_TEXT", 0.5)
    noted = Noted()
    with HangingServer("text", drips=True) as tar_pit, pytest.raises(OSError):  # noqa: PT011 - smtplib's are OSErrors too
        send(tar_pit.port, last_step=noted.step())
    assert noted.outcome == "in doubt"


def test_a_server_that_is_away_is_not_asked_for_every_mail_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mailers, "_STEP", 0.1)
    with HangingServer("EHLO") as server:
        mailer = mailer_of(f"smtp://127.0.0.1:{server.port}", COMPOSER.compose)
        for _ in range(5):
            with pytest.raises(ServerAway):
                mailer.send(MAIL, nullcontext())
        assert server.connections == 1
        said = capsys.readouterr()
        assert (said.out + said.err).count("the mail server is away") == 1


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_back_is_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    with HangingServer("EHLO") as server:
        mailer = mailer_of(f"smtp://127.0.0.1:{server.port}", COMPOSER.compose)
        with pytest.raises(ServerAway):
            mailer.send(MAIL, nullcontext())
        server.at = ""
        eventually(lambda: _sent(mailer))
        assert len(server.texts) == 1
        said = capsys.readouterr()
        assert (said.out + said.err).count("the mail server is back") == 1


def _sent(mailer: Mailer) -> bool:
    try:
        mailer.send(MAIL, nullcontext())
    except ServerAway:
        return False
    return True


def test_a_line_that_begins_with_a_dot_arrives_as_it_is() -> None:
    def compose(_mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = "no-reply@shop.example", ADA
        message.set_content(".hidden\n..\n")
        return message

    with HangingServer() as server:
        mailer_of(f"smtp://127.0.0.1:{server.port}", compose).send(MAIL, nullcontext())
    assert b"\r\n..hidden\r\n...\r\n" in server.texts[0]
