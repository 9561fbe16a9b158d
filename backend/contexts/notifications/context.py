"""The notifications context."""

from __future__ import annotations

from datetime import UTC, datetime

from backend.contexts.notifications.application.handlers import handlers
from backend.contexts.notifications.application.ports import Mailer, NotificationsPorts
from backend.contexts.notifications.infrastructure.composing import Composer
from backend.contexts.notifications.infrastructure.ledger import RETENTION, SqlMails, steps_of
from backend.contexts.notifications.infrastructure.mailers import mailer_of
from backend.contexts.notifications.infrastructure.settings import MailSettings
from backend.contexts.users.application.queries import ListAdmins
from backend.kernel.context import Context
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.resources import Resources


def open_ports(resources: Resources, unit: UnitOfWork) -> NotificationsPorts:
    """Open the handlers' ports for one transaction."""
    return NotificationsPorts(
        message_id=unit.message_id,
        caused_at=unit.accepted_at,
        ledger=SqlMails(resources.database),
        mailer=resources.once(_mailer),
        now=lambda: datetime.now(UTC),
        admins=lambda: resources.reader.ask(ListAdmins()),
    )


def _mailer(resources: Resources) -> Mailer:
    settings = resources.settings.of(MailSettings)
    links_lead_to = settings.frontend_url or resources.settings.public_url
    return mailer_of(settings.mail_url, Composer(settings.mail_from, links_lead_to).compose)


context = Context(
    "notifications", handlers, open_ports, retention=(RETENTION,), timeline=steps_of, settings=MailSettings
)
