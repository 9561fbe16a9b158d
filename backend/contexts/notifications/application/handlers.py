"""Handlers of the notifications context: which event causes which mail, one function per event."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid5

from backend.contexts.auth.domain.events import RefreshTokenReused, SignInCodeRequested
from backend.contexts.notifications.application.ports import (
    USEFUL_FOR,
    Deferred,
    HandedOver,
    Mail,
    NotificationsPorts,
    ServerAway,
    Template,
    Undeliverable,
)
from backend.contexts.notifications.application.readings import StockLow
from backend.contexts.users.domain.events import (
    EmailChangeNoticed,
    EmailChangeRequested,
    EmailVerificationRequested,
    PasswordChanged,
    PasswordResetRequested,
    TakenEmailRegistered,
)
from backend.kernel.messages.away import Away
from backend.kernel.messages.registry import Handlers, Kind

_LEAST_TRIES = 30
"""Tries while a mail is useful and the mail server is away."""

handlers = Handlers[NotificationsPorts]("notifications")


@handlers.on(EmailVerificationRequested, kind=Kind.MAIL)
def mail_verification_link(event: EmailVerificationRequested, ports: NotificationsPorts) -> None:
    """To the address that has to be verified."""
    _send(ports, Template.VERIFY_EMAIL, event.email, language=event.language, token=event.token.value)


@handlers.on(TakenEmailRegistered, kind=Kind.MAIL)
def mail_notice_of_taken_email(event: TakenEmailRegistered, ports: NotificationsPorts) -> None:
    """To the owner of an account that somebody tried to register again."""
    _send(ports, Template.EMAIL_ALREADY_REGISTERED, event.email, language=event.language)


@handlers.on(PasswordResetRequested, kind=Kind.MAIL)
def mail_password_reset_link(event: PasswordResetRequested, ports: NotificationsPorts) -> None:
    """To a user who requested a new password."""
    _send(ports, Template.RESET_PASSWORD, event.email, language=event.language, token=event.token.value)


@handlers.on(PasswordChanged, kind=Kind.MAIL)
def mail_notice_of_new_password(event: PasswordChanged, ports: NotificationsPorts) -> None:
    """To the user whose password changed."""
    _send(ports, Template.PASSWORD_CHANGED, event.email, language=event.language)


@handlers.on(EmailChangeRequested, kind=Kind.MAIL)
def mail_email_change_link(event: EmailChangeRequested, ports: NotificationsPorts) -> None:
    """To the new address."""
    _send(ports, Template.CONFIRM_NEW_EMAIL, event.email, language=event.language, token=event.token.value)


@handlers.on(EmailChangeNoticed, kind=Kind.MAIL)
def mail_notice_of_email_change(event: EmailChangeNoticed, ports: NotificationsPorts) -> None:
    """To the old address."""
    _send(ports, Template.EMAIL_CHANGE_NOTICE, event.email, language=event.language)


@handlers.on(SignInCodeRequested, kind=Kind.CODES)
def mail_sign_in_code(event: SignInCodeRequested, ports: NotificationsPorts) -> None:
    """To a user who waits for it: it has a lane of its own, and an expired code is not sent."""
    _send(
        ports,
        Template.SIGN_IN_CODE,
        event.email,
        language=event.language,
        values={"code": event.code.value},
        useful_until=event.expires_at,
    )


@handlers.on(RefreshTokenReused, kind=Kind.MAIL)
def mail_notice_of_ended_session(event: RefreshTokenReused, ports: NotificationsPorts) -> None:
    """To the owner of a session whose token somebody seems to have copied."""
    _send(ports, Template.SESSION_ENDED, event.email, language=event.language, values={"ip": event.ip})


@handlers.on(StockLow, kind=Kind.MAIL)
def mail_low_stock(event: StockLow, ports: NotificationsPorts) -> None:
    """To every active administrator. A mail that fails delays no other one, and its retry sends no other one again."""
    values = {"name": event.name, "sku": event.sku, "stock": event.stock, "threshold": event.threshold}
    failures: list[Exception] = []
    for admin in ports.admins():
        try:
            _send(ports, Template.STOCK_LOW, admin.email, language=admin.language, values=values)
        except Exception as failure:  # noqa: BLE001 - raised below
            failures.append(failure)
    if failures:
        # A fault counts as an attempt, and the last one gives the message up: not while another mail only waits.
        raise next((failure for failure in failures if isinstance(failure, Away)), failures[0])


def _send(
    ports: NotificationsPorts, template: Template, to: str, useful_until: datetime | None = None, **details: Any
) -> None:
    """Send a mail, unless it was sent before or is of no use any more. While the mail server is away, it waits."""
    useful_until = useful_until or ports.caused_at + USEFUL_FOR[template]
    mail = Mail(uuid5(ports.message_id, to), template, to, **details)
    if ports.ledger.knows(mail):
        return
    if ports.now() >= useful_until:
        ports.ledger.drop(mail, "expired", "it was taken from its lane too late")
        return
    try:
        ports.mailer.send(mail, ports.ledger.once(mail))
    except Undeliverable as refusal:
        ports.ledger.drop(mail, "undeliverable", str(refusal))
    except HandedOver:
        pass  # another delivery of the same message sent it
    except (ServerAway, Deferred) as away:
        _wait(ports, mail, useful_until, away)


def _wait(ports: NotificationsPorts, mail: Mail, useful_until: datetime, away: Away) -> None:
    """Have the message redelivered, unless the next try would come too late."""
    pause = min(away.longest_pause, USEFUL_FOR[mail.template].total_seconds() / _LEAST_TRIES)
    if ports.now() + timedelta(seconds=pause) >= useful_until:
        ports.ledger.drop(mail, "expired", str(away))
        return
    away.longest_pause = pause
    raise away
