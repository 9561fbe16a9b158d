"""The table `mails`: what was sent, so that no mail is sent twice.

Guarantee: a row is committed before the text of its mail is sent, and no mail with a row is sent. A
process that dies, or loses its server, in between leaves a row in `sending`: whether that mail
arrived is unknown, and it is not sent again (docs/adr/0013-mail-at-most-once-when-in-doubt.md).
Neither address nor content is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert

from backend.contexts.notifications.application.ports import Deferred, HandedOver, Mail, NotTaken, ServerAway
from backend.kernel.messages.origin import current_origin
from backend.kernel.observe.timeline import Step, Wanted
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.statements import Statement
from backend.kernel.postgres.tables import metadata

log = structlog.get_logger(__name__)

mails = sa.Table(
    "mails",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("sent_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("status in ('sending', 'sent', 'expired', 'undeliverable')", name="status"),
    sa.Index(None, "created_at"),
    sa.Index(None, "request_id"),
)


@dataclass(frozen=True)
class _Status:
    status: str


_STATUS = Statement(sa.select(mails.c.status).where(mails.c.id == sa.bindparam("id", type_=sa.Uuid)), _Status)


class SqlMails:
    """`Ledger` in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def knows(self, mail: Mail) -> bool:
        """Whether the mail was handed over or dropped."""
        found = self._database.read(lambda connection: _STATUS.one(connection, id=mail.id), fresh=True)
        if found is not None and found.status == "sending":
            log.warning("mail left in doubt", mail_id=str(mail.id), template=mail.template)
        return found is not None

    @contextmanager
    def once(self, mail: Mail) -> Iterator[None]:
        """Commit the row first. Delete it only if the server said that it did not accept the mail."""
        if not self._write(mail, "sending"):
            raise HandedOver
        try:
            yield
        except (NotTaken, ServerAway, Deferred):
            with self._database.transaction() as connection:
                connection.execute(mails.delete().where(mails.c.id == mail.id))
            raise
        with self._database.transaction() as connection:
            connection.execute(mails.update().where(mails.c.id == mail.id).values(status="sent", sent_at=sa.func.now()))
        log.info("mail sent", mail_id=str(mail.id), template=mail.template)

    def drop(self, mail: Mail, outcome: str, reason: str) -> None:
        """Record that the mail will not be sent, and why."""
        if self._write(mail, outcome, reason):
            log.warning("mail dropped", mail_id=str(mail.id), template=mail.template, outcome=outcome, reason=reason)

    def _write(self, mail: Mail, status: str, reason: str | None = None) -> bool:
        request_id = current_origin.get().request_id or None
        row = insert(mails).values(
            id=mail.id, template=mail.template, status=status, reason=reason, request_id=request_id
        )
        with self._database.transaction() as connection:
            return connection.execute(row.on_conflict_do_nothing().returning(mails.c.id)).first() is not None


def steps_of(connection: sa.Connection, wanted: Wanted) -> Iterator[Step]:
    """The mails of a request."""
    for row in connection.execute(sa.select(mails).where(mails.c.request_id.in_(wanted.request_ids))):
        reason = f" · {row.reason}" if row.reason else ""
        yield Step(row.sent_at or row.created_at, "mail", row.template, f"{row.status} · {row.id}{reason}")


RETENTION = Retention(mails.c.created_at, timedelta(days=90))
"""Longer than operations are kept: as long as a message can be replayed, its mails must be on record."""
