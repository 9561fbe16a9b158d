"""The ports of the notifications context, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from backend.contexts.notifications.application.ports import (
    Deferred,
    HandedOver,
    Mail,
    NotificationsPorts,
    NotTaken,
    ServerAway,
)
from backend.contexts.users.application.queries import AdminContact

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class MemoryLedger:
    """What was sent, until the test ends."""

    def __init__(self) -> None:
        self.status: dict[UUID, str] = {}

    def knows(self, mail: Mail) -> bool:
        return mail.id in self.status

    @contextmanager
    def once(self, mail: Mail) -> Iterator[None]:
        if self.knows(mail):
            raise HandedOver
        self.status[mail.id] = "sending"
        try:
            yield
        except (NotTaken, ServerAway, Deferred):
            del self.status[mail.id]
            raise
        self.status[mail.id] = "sent"

    def drop(self, mail: Mail, outcome: str, reason: str) -> None:
        self.status.setdefault(mail.id, f"{outcome}: {reason}")


class MemoryMailer:
    """A mailbox for everybody.

    Attributes:
        failures: by address, what goes wrong before its next mail is handed over.
        lost: addresses whose next mail arrives without anybody learning that it did.
    """

    def __init__(self) -> None:
        self.delivered: list[Mail] = []
        self.failures: dict[str, Exception] = {}
        self.lost: set[str] = set()

    def send(self, mail: Mail, last_step: AbstractContextManager[None]) -> None:
        if mail.to in self.failures:
            raise self.failures.pop(mail.to)
        with last_step:
            self.delivered.append(mail)
            if mail.to in self.lost:
                raise ConnectionResetError

    @property
    def recipients(self) -> list[str]:
        return [mail.to for mail in self.delivered]


class Office:
    """A notifications context in memory, handing out its ports."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.mailer = MemoryMailer()
        self.now = NOW
        self.admins: Sequence[AdminContact] = ()

    def ports(self, message_id: UUID | None = None) -> NotificationsPorts:
        """The ports for one delivery of that message."""
        return NotificationsPorts(
            message_id or uuid7(), NOW, self.ledger, self.mailer, lambda: self.now, lambda: self.admins
        )
