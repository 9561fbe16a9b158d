"""Which event is told to whom, how often and when not."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from backend.contexts.auth.domain.events import RefreshTokenReused, SignInCodeRequested
from backend.contexts.notifications.application import handlers
from backend.contexts.notifications.application.ports import (
    Deferred,
    Mail,
    NotTaken,
    ServerAway,
    Template,
    Undeliverable,
)
from backend.contexts.notifications.application.readings import StockLow
from backend.contexts.users.application.queries import AdminContact
from backend.contexts.users.domain import links
from backend.contexts.users.domain.events import (
    EmailChangeNoticed,
    EmailChangeRequested,
    EmailVerificationRequested,
    PasswordChanged,
    PasswordResetRequested,
    TakenEmailRegistered,
)
from backend.kernel.messages.event import Event
from backend.kernel.messages.secret import Secret
from tests.contexts.notifications.fakes import NOW, Office

ADA, USER = "ada@example.com", UUID("01900000-0000-7000-8000-00000000000a")
TOKEN = Secret("the-token")
RESET = PasswordResetRequested(USER, ADA, "Ada", "es", TOKEN)
CODE = SignInCodeRequested(USER, ADA, "Ada", "es", Secret("123456"), uuid7(), NOW + timedelta(minutes=5))
STOCK_LOW = StockLow(uuid7(), "Laptop HP", "HP-15", 3, 5)
HANDLERS = {handler.message: handler.function for handler in handlers.handlers}


@pytest.fixture
def office() -> Office:
    return Office()


def tell(office: Office, event: Event, message_id: UUID | None = None) -> None:
    HANDLERS[type(event)](event, office.ports(message_id))


@pytest.mark.parametrize(
    ("event", "template", "token"),
    [
        (EmailVerificationRequested(USER, ADA, "Ada", "es", TOKEN), Template.VERIFY_EMAIL, "the-token"),
        (TakenEmailRegistered(USER, ADA, "Ada", "es"), Template.EMAIL_ALREADY_REGISTERED, ""),
        (RESET, Template.RESET_PASSWORD, "the-token"),
        (PasswordChanged(USER, ADA, "Ada", "es"), Template.PASSWORD_CHANGED, ""),
        (EmailChangeRequested(USER, ADA, "Ada", "es", TOKEN), Template.CONFIRM_NEW_EMAIL, "the-token"),
        (EmailChangeNoticed(USER, ADA, "Ada", "es"), Template.EMAIL_CHANGE_NOTICE, ""),
        (CODE, Template.SIGN_IN_CODE, ""),
        (RefreshTokenReused(USER, ADA, "Ada", "es", uuid7(), "192.0.2.7"), Template.SESSION_ENDED, ""),
    ],
)
def test_each_event_is_told_to_the_address_it_names_in_the_readers_language(
    office: Office, event: Event, template: Template, token: str
) -> None:
    tell(office, event)
    (mail,) = office.mailer.delivered
    assert (mail.to, mail.language, mail.template, mail.token) == (ADA, "es", template, token)


def test_a_sign_in_code_is_in_its_mail(office: Office) -> None:
    """Auth: "a 6-digit code by e-mail"."""
    tell(office, CODE)
    assert office.mailer.delivered[0].values == {"code": "123456"}


def test_a_redelivered_message_sends_no_second_mail(office: Office) -> None:
    message_id = uuid7()
    tell(office, RESET, message_id)
    tell(office, RESET, message_id)
    assert office.mailer.recipients == [ADA]


def test_the_same_wish_expressed_twice_is_two_mails(office: Office) -> None:
    tell(office, RESET)
    tell(office, RESET)
    assert office.mailer.recipients == [ADA, ADA]


def test_a_mail_that_the_server_did_not_take_is_sent_at_the_next_delivery(office: Office) -> None:
    message_id = uuid7()
    office.mailer.failures[ADA] = NotTaken("the mail server answered 451")
    with pytest.raises(NotTaken):
        tell(office, RESET, message_id)
    tell(office, RESET, message_id)
    assert office.mailer.recipients == [ADA]


def test_a_mail_of_which_nobody_knows_whether_it_arrived_is_not_sent_again(office: Office) -> None:
    message_id = uuid7()
    office.mailer.lost.add(ADA)
    with pytest.raises(ConnectionResetError):
        tell(office, RESET, message_id)
    tell(office, RESET, message_id)
    assert office.mailer.recipients == [ADA]
    assert list(office.ledger.status.values()) == ["sending"]


def test_an_address_that_does_not_exist_is_not_tried_again(office: Office) -> None:
    message_id = uuid7()
    office.mailer.failures[ADA] = Undeliverable("no such address")
    tell(office, RESET, message_id)
    tell(office, RESET, message_id)
    assert office.mailer.recipients == []
    assert list(office.ledger.status.values()) == ["undeliverable: no such address"]


def test_a_code_that_would_arrive_too_late_is_dropped_and_noted_as_such(office: Office) -> None:
    office.now = CODE.expires_at
    tell(office, CODE)
    assert office.mailer.recipients == []
    assert list(office.ledger.status.values()) == ["expired: it was taken from its lane too late"]


@pytest.mark.parametrize(
    ("event", "useful_for"),
    [
        (CODE, timedelta(minutes=5)),
        (RESET, links.LIFETIME[links.Purpose.RESET_PASSWORD]),
        (EmailVerificationRequested(USER, ADA, "Ada", "es", TOKEN), links.LIFETIME[links.Purpose.VERIFY_EMAIL]),
        (EmailChangeRequested(USER, ADA, "Ada", "es", TOKEN), links.LIFETIME[links.Purpose.CHANGE_EMAIL]),
        (PasswordChanged(USER, ADA, "Ada", "es"), timedelta(days=1)),
    ],
)
def test_an_absent_server_is_waited_for_as_long_as_the_mail_is_of_use(
    office: Office, event: Event, useful_for: timedelta
) -> None:
    message_id, tries = uuid7(), 0
    while not office.ledger.status:
        office.mailer.failures[ADA] = ServerAway("nobody there")
        try:
            tell(office, event, message_id)
        except ServerAway as away:
            tries += 1
            office.now += timedelta(seconds=away.longest_pause)
    assert 0.9 * useful_for < office.now - NOW < useful_for
    assert tries >= 29
    assert list(office.ledger.status.values()) == ["expired: nobody there"]
    office.mailer.failures.clear()
    tell(office, event, message_id)
    assert office.mailer.recipients == []


def test_a_mail_that_waited_for_its_server_is_sent_once(office: Office) -> None:
    message_id = uuid7()
    office.mailer.failures[ADA] = ServerAway("nobody there")
    with pytest.raises(ServerAway):
        tell(office, RESET, message_id)
    for _ in range(2):
        tell(office, RESET, message_id)
    assert office.mailer.recipients == [ADA]


def test_low_stock_is_mailed_to_every_administrator_in_their_language(office: Office) -> None:
    """Products: "raises `StockLow` once, which mails the admins"."""
    office.admins = [AdminContact("one@example.com", "en"), AdminContact("two@example.com", "es")]
    tell(office, STOCK_LOW)
    assert [(mail.to, mail.language) for mail in office.mailer.delivered] == [
        ("one@example.com", "en"),
        ("two@example.com", "es"),
    ]


def test_an_administrator_is_not_told_again_because_another_could_not_be(office: Office) -> None:
    office.admins = [AdminContact("one@example.com", "en"), AdminContact("two@example.com", "en")]
    office.mailer.failures["two@example.com"] = NotTaken("the mail server answered 451")
    message_id = uuid7()
    with pytest.raises(NotTaken):
        tell(office, STOCK_LOW, message_id)
    tell(office, STOCK_LOW, message_id)
    assert office.mailer.recipients == ["one@example.com", "two@example.com"]


def test_a_mail_that_one_administrator_cannot_get_delays_no_other_one(office: Office) -> None:
    office.admins = [AdminContact(f"{name}@example.com", "en") for name in ("one", "two", "three")]
    office.mailer.failures["one@example.com"] = NotTaken("the mail server answered 554")
    office.mailer.failures["two@example.com"] = Deferred("the mail server answered 450")
    message_id = uuid7()
    with pytest.raises(Deferred):  # which counts no attempt: that mail is worth a day of tries
        tell(office, STOCK_LOW, message_id)
    assert office.mailer.recipients == ["three@example.com"]
    tell(office, STOCK_LOW, message_id)
    assert office.mailer.recipients == ["three@example.com", "one@example.com", "two@example.com"]


def test_codes_never_queue_behind_other_mail() -> None:
    lanes = {handler.message: handler.lane for handler in handlers.handlers}
    assert lanes.pop(SignInCodeRequested) == "notifications.codes"
    assert set(lanes.values()) == {"notifications.mail"}


def test_a_mail_shows_neither_address_nor_secret_when_it_is_printed() -> None:
    mail = Mail(uuid7(), Template.SIGN_IN_CODE, ADA, "en", "the-token", {"code": "123456"})
    assert not any(text in repr(mail) for text in (ADA, "the-token", "123456"))
