"""What the notifications context needs of the outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from backend.contexts.users.application.queries import AdminContact


class Template(StrEnum):
    """The mails there are; each has its words in every language."""

    VERIFY_EMAIL = "verify_email"
    EMAIL_ALREADY_REGISTERED = "email_already_registered"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a name
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name
    CONFIRM_NEW_EMAIL = "confirm_new_email"
    EMAIL_CHANGE_NOTICE = "email_change_notice"
    SIGN_IN_CODE = "sign_in_code"
    SESSION_ENDED = "session_ended"
    STOCK_LOW = "stock_low"


@dataclass(frozen=True)
class Mail:
    """One mail to one person.

    Mails say nothing that somebody else may have written, such as the name given at a registration:
    nobody shall send their words to a stranger through us.

    Attributes:
        id: the same at each delivery of the message that causes it.
        language: a language tag, or an Accept-Language header; English when it is none of ours.
        token: what the mail's link carries, "" when it has none.
        values: what else the template tells.
        useful_until: when it need not be sent any more.
    """

    id: UUID
    template: Template
    to: str = field(repr=False)
    language: str = ""
    token: str = field(default="", repr=False)
    values: Mapping[str, object] = field(default_factory=dict, repr=False)
    useful_until: datetime | None = None


class HandedOver(Exception):
    """The mail was handed to the mail server before. It is not handed over again."""


class NotTaken(Exception):
    """The mail server did not take the mail; it may do so later."""


class Undeliverable(Exception):
    """The mail server says that the address does not exist. Trying again cannot help."""


class Mailer(Protocol):
    """The way to the mailbox."""

    def send(self, mail: Mail, last_step: AbstractContextManager[None]) -> None:
        """Hand the mail over, entering `last_step` when nothing but the text itself remains to be sent.

        Raises:
            HandedOver: by `last_step`; nothing was sent.
            NotTaken: the server did not take it.
            Undeliverable: the server never will.
        """


class Ledger(Protocol):
    """What was sent. Each method is a short transaction of its own: none is open while a server is spoken to."""

    def knows(self, mail: Mail) -> bool:
        """Whether the mail was handed over, or is not to be."""

    def once(self, mail: Mail) -> AbstractContextManager[None]:
        """Note that the mail is being handed over; that it was, when the block ends; that it was
        not, when the block raises NotTaken. After any other exception nobody can say: the note stays.

        Raises:
            HandedOver: it was noted before.
        """

    def drop(self, mail: Mail, outcome: str) -> None:
        """Note that the mail is not to be sent, and why: `expired` or `undeliverable`."""


@dataclass(frozen=True)
class NotificationsPorts:
    """What a notifications handler may reach.

    Attributes:
        message_id: of the event at hand, the same at each delivery.
        now: the present time, with its time zone.
        admins: where administrators are reached, and in which language.
    """

    message_id: UUID
    ledger: Ledger
    mailer: Mailer
    now: Callable[[], datetime]
    admins: Callable[[], Sequence[AdminContact]]
