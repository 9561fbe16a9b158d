"""Mailed links: following one proves access to the mailbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from backend.kernel.messages.values import EmailAddress


class Purpose(StrEnum):
    """What following the link does."""

    VERIFY_EMAIL = "verify_email"
    CHANGE_EMAIL = "change_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a purpose, not a password


class Occasion(StrEnum):
    """Why the link was mailed."""

    REGISTRATION = "registration"
    REQUEST = "request"
    SIGN_IN = "sign_in"


LIFETIME = {
    Purpose.VERIFY_EMAIL: timedelta(days=1),
    Purpose.CHANGE_EMAIL: timedelta(days=1),
    Purpose.RESET_PASSWORD: timedelta(minutes=15),
}
PER_HOUR = {Occasion.REQUEST: 5, Occasion.SIGN_IN: 1}
"""Mails per account, purpose, occasion and hour. An account registers once."""
PER_ADDRESS = 10
"""Mails per address and hour, for all accounts and occasions: nobody's mailbox may be flooded through us."""


@dataclass(frozen=True)
class Link:
    """A mailed link.

    Attributes:
        email: the address it verifies, if that is not the user's current one.
    """

    user_id: UUID
    purpose: Purpose
    email: EmailAddress | None
