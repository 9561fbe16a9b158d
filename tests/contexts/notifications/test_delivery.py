"""From an event to a mailbox, over the bus, the outbox and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from backend.contexts.auth.domain.events import SignInCodeRequested
from backend.contexts.notifications.application.ports import HandedOver, Mail, NotTaken, Template
from backend.contexts.notifications.application.readings import StockLow
from backend.contexts.notifications.infrastructure.ledger import SqlMails
from backend.contexts.users.application.commands import CreateUser
from backend.contexts.users.domain.events import PasswordResetRequested
from backend.contexts.users.domain.user import PersonName
from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import SyncCommand
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.secret import Secret
from backend.kernel.postgres.database import Database
from backend.program import CONTEXTS, Process
from tests.inline import InlineQueue

ADA, USER = "ada@example.com", UUID("01900000-0000-7000-8000-00000000000a")
TOKEN, CODE = "canary-token", "424242"
RESET = PasswordResetRequested(USER, ADA, "Ada", "en", Secret(TOKEN))


@dataclass(frozen=True)
class Say(SyncCommand[None]):
    """Have something happened."""

    event: Any


class StockWasLow(StockLow):
    """As another context publishes it."""

    @property
    def subject(self) -> str:
        return str(self.product_id)


someone = Handlers[UnitOfWork]("someone")


@someone.on(Say)
def say(command: Say, unit: UnitOfWork) -> None:
    unit.track(Aggregate()).record(command.event)


def code_requested(lives: timedelta = timedelta(minutes=5)) -> SignInCodeRequested:
    return SignInCodeRequested(USER, ADA, "Ada", "es", Secret(CODE), uuid7(), datetime.now(UTC) + lives)


def read(mail: EmailMessage) -> str:
    """A mail's text."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@dataclass(frozen=True)
class World:
    """The program around the notifications context."""

    process: Process
    queue: InlineQueue
    mailbox: Path
    url: str

    def tell(self, event: Event) -> None:
        """Have an event happen, and wait until everybody has heard of it."""
        self.process.bus.execute(Say(event))
        self.queue.drain()

    @property
    def mails(self) -> list[EmailMessage]:
        files = self.mailbox.glob("*")
        return [message_from_bytes(file.read_bytes(), policy=default) for file in files]

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    @property
    def ledger(self) -> list[tuple[Any, ...]]:
        return self.rows("select template, status, request_id from mails")


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (*CONTEXTS, Context("someone", someone, lambda _resources, unit: unit))


@pytest.fixture
def world(process: Process, queue: InlineQueue, tmp_path: Path, clean_database: str) -> World:
    return World(process, queue, tmp_path / "mail", clean_database)


@pytest.fixture
def ledger(clean_database: str) -> Iterator[SqlMails]:
    database = Database(clean_database)
    yield SqlMails(database)
    database.close()


@pytest.fixture
def mail() -> Mail:
    return Mail(uuid7(), Template.RESET_PASSWORD, ADA, "en", TOKEN)


def test_an_event_becomes_a_mail_that_names_the_request_it_came_from(world: World) -> None:
    """Conventions: the request id "is on every log line of API, worker and mail that the request causes"."""
    token = current_origin.set(Origin(request_id="req-1"))
    try:
        world.tell(RESET)
    finally:
        current_origin.reset(token)
    (mail,) = world.mails
    assert (mail["To"], mail["X-Request-ID"]) == (ADA, "req-1")
    assert TOKEN in read(mail)
    assert world.ledger == [("reset_password", "sent", "req-1")]


def test_a_message_delivered_twice_is_one_mail(world: World) -> None:
    world.tell(RESET)
    (sent,) = world.queue.sent
    world.process.receiver.receive(sent)
    assert len(world.mails) == 1


def test_a_worker_that_died_before_it_could_say_so_has_sent_its_mail_all_the_same(world: World) -> None:
    """The effect of the message is gone with its transaction; the ledger, committed before, remains."""
    world.tell(RESET)
    with psycopg.connect(world.url) as connection:
        connection.execute("delete from operations")
    for file in world.mailbox.iterdir():
        file.unlink()
    world.process.receiver.receive(world.queue.sent[0])
    assert world.mails == []


def test_a_code_that_waited_too_long_is_not_sent(world: World) -> None:
    world.tell(code_requested(lives=timedelta(seconds=-1)))
    assert world.mails == []
    assert [(template, status) for template, status, _ in world.ledger] == [("sign_in_code", "expired")]


def test_codes_have_a_queue_of_their_own(world: World) -> None:
    world.tell(code_requested())
    assert [envelope.lane for envelope in world.queue.sent] == ["notifications.codes"]


@pytest.mark.parametrize(("make", "secret"), [(lambda: RESET, TOKEN), (code_requested, CODE)])
def test_no_code_and_no_token_can_be_read_on_the_way(world: World, make: Callable[[], Event], secret: str) -> None:
    """Not in the outbox, not in the message, not in the ledger, not in the outside world's copy."""
    world.queue.down = True
    world.process.bus.execute(Say(make()))
    ((row,),) = world.rows("select outbox::text from outbox")
    assert ADA in row
    assert secret not in row

    world.queue.down = False
    world.queue.sweep()
    assert secret not in repr(world.queue.sent)
    assert world.queue.announced == []
    assert secret not in repr(world.rows("select mails::text from mails"))
    assert any(secret in read(mail) for mail in world.mails)


def test_the_ledger_keeps_no_address(world: World) -> None:
    world.tell(RESET)
    ((row,),) = world.rows("select mails::text from mails")
    assert "ada" not in row


def test_a_mail_is_in_the_ledger_before_its_text_leaves(ledger: SqlMails, mail: Mail, clean_database: str) -> None:
    with ledger.once(mail), psycopg.connect(clean_database) as somebody_else:
        assert somebody_else.execute("select status from mails").fetchall() == [("sending",)]
    assert ledger.knows(mail)


def test_of_two_deliveries_at_once_one_sends(ledger: SqlMails, mail: Mail) -> None:
    with ledger.once(mail), pytest.raises(HandedOver), ledger.once(mail):
        pass


def test_a_mail_that_was_not_taken_may_be_sent_again(ledger: SqlMails, mail: Mail) -> None:
    with pytest.raises(NotTaken), ledger.once(mail):
        raise NotTaken
    assert not ledger.knows(mail)


def test_a_mail_in_doubt_is_not_sent_again(ledger: SqlMails, mail: Mail) -> None:
    with pytest.raises(ConnectionResetError), ledger.once(mail):
        raise ConnectionResetError
    assert ledger.knows(mail)


def test_the_ledger_forgets_after_its_retention(world: World) -> None:
    world.tell(RESET)
    world.process.purge()
    assert len(world.ledger) == 1
    with psycopg.connect(world.url) as connection:
        connection.execute("update mails set created_at = now() - interval '91 days'")
    world.process.purge()
    assert world.ledger == []


def test_low_stock_is_mailed_to_active_administrators_alone(world: World) -> None:
    """Products: "raises `StockLow` once, which mails the admins"."""
    for name in ("active", "inactive", "ordinary"):
        user_id = uuid7()
        person = PersonName(name), f"{name}@example.com", Secret("correct horse battery")
        world.process.bus.dispatch(CreateUser(user_id, *person), user_id)
    world.queue.drain()
    with psycopg.connect(world.url) as connection:
        connection.execute("update users set roles = '{admin}' where name <> 'ordinary'")
        connection.execute("update users set is_active = false where name = 'inactive'")
    world.tell(StockWasLow(uuid7(), "Laptop HP", "HP-15", 3, 5))
    assert [mail["To"] for mail in world.mails if "Laptop HP" in mail["Subject"]] == ["active@example.com"]
