"""Ports of the notifications context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Protocol
from uuid import UUID

from backend.contexts.users.application.queries import AdminContact
from backend.kernel.messages.away import Away


class Template(StrEnum):
    """The mails. Each has a template in every language."""

    VERIFY_EMAIL = "verify_email"
    EMAIL_ALREADY_REGISTERED = "email_already_registered"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a name
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name
    CONFIRM_NEW_EMAIL = "confirm_new_email"
    EMAIL_CHANGE_NOTICE = "email_change_notice"
    SIGN_IN_CODE = "sign_in_code"
    SESSION_ENDED = "session_ended"
    STOCK_LOW = "stock_low"


USEFUL_FOR = {
    Template.VERIFY_EMAIL: timedelta(days=1),
    Template.EMAIL_ALREADY_REGISTERED: timedelta(days=1),
    Template.RESET_PASSWORD: timedelta(minutes=15),
    Template.PASSWORD_CHANGED: timedelta(days=1),
    Template.CONFIRM_NEW_EMAIL: timedelta(days=1),
    Template.EMAIL_CHANGE_NOTICE: timedelta(days=1),
    Template.SIGN_IN_CODE: timedelta(minutes=5),
    Template.SESSION_ENDED: timedelta(days=1),
    Template.STOCK_LOW: timedelta(days=1),
}
"""How long after its event a mail is worth sending: a link or code as long as it is accepted, a notice a day."""


@dataclass(frozen=True)
class Mail:
    """One mail to one person.

    A mail contains nothing that another person may have written, such as the name given at a registration:
    otherwise we would send anybody's text to strangers.

    Attributes:
        id: the same at each delivery of the message that causes it.
        language: a language tag, or an Accept-Language header; English if it is none of ours.
        token: the token of the mail's link, "" for none.
        values: other values of the template.
    """

    id: UUID
    template: Template
    to: str = field(repr=False)
    language: str = ""
    token: str = field(default="", repr=False)
    values: Mapping[str, object] = field(default_factory=dict, repr=False)


class HandedOver(Exception):
    """The mail was already handed to the mail server. It is not handed over again."""


class NotTaken(Exception):
    """The mail server refuses the mail."""


class ServerAway(Away):
    """The mail server cannot be reached, does not answer in time, or refuses the login."""


class Deferred(Away):
    """The mail server does not take this mail now. Others may be taken."""

    longest_pause = 900
    logged: ClassVar[bool] = False


class Undeliverable(Exception):
    """The mail server says that the address does not exist. A retry cannot help."""


class Mailer(Protocol):
    """Hands mails to a mail server."""

    def send(self, mail: Mail, last_step: AbstractContextManager[None]) -> None:
        """Hand the mail over. Enter `last_step` when only the text itself remains to be sent.

        Raises:
            HandedOver: raised by `last_step`; nothing was sent.
            NotTaken: the server refuses it.
            ServerAway, Deferred: nothing was taken.
            Undeliverable: the server will never accept it.
        """


class Ledger(Protocol):
    """What was sent. Each method is a short transaction of its own: none is open during an SMTP conversation."""

    def knows(self, mail: Mail) -> bool:
        """Whether the mail was handed over or dropped."""

    def once(self, mail: Mail) -> AbstractContextManager[None]:
        """Record that the mail is being handed over; that it was, when the block ends; that it was not, when the
        block raises NotTaken, ServerAway or Deferred. Any other exception leaves doubt, and the record stays.

        Raises:
            HandedOver: it was recorded before.
        """

    def drop(self, mail: Mail, outcome: str, reason: str) -> None:
        """Record that the mail will not be sent: it is `expired` or `undeliverable`, and why, in words."""


@dataclass(frozen=True)
class NotificationsPorts:
    """The ports of a notifications handler.

    Attributes:
        message_id: of the event's message, the same at each delivery.
        caused_at: when the event happened.
        now: the current time, with its time zone.
        admins: the addresses and languages of administrators.
    """

    message_id: UUID
    caused_at: datetime
    ledger: Ledger
    mailer: Mailer
    now: Callable[[], datetime]
    admins: Callable[[], Sequence[AdminContact]]
