"""The mailed links, in PostgreSQL.

A token is the signed id of its row. Making one takes both the table and the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa

from backend.contexts.users.domain.errors import InvalidLink
from backend.contexts.users.domain.links import LIFETIME, PER_ADDRESS, PER_HOUR, Link, Occasion, Purpose
from backend.contexts.users.infrastructure.tables import links, users
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.keys import BadSignature, Keyring
from backend.kernel.limits import Limit, Limits, Use
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import EmailAddress
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.statements import run

_TOKEN = "mail link"  # noqa: S105 - what a signature is for
# One round trip: every registration pays for it.
_ISSUE = """
with ended as (
    update links set ended_at = now()
    where user_id = %(user_id)s and purpose = %(purpose)s and ended_at is null and expires_at > now()
)
insert into links (id, user_id, purpose, occasion, email, expires_at)
values (%(id)s, %(user_id)s, %(purpose)s, %(occasion)s, %(email)s, now() + %(lifetime)s)
"""
_MAILS = Limit("mails to an address", PER_ADDRESS)
_LIVE = sa.and_(links.c.ended_at.is_(None), links.c.expires_at > sa.func.now())


@dataclass(frozen=True)
class SqlLinks:
    """`Links` within one unit of work."""

    unit: UnitOfWork
    database: Database
    keyring: Keyring
    limits: Limits

    def issue(self, user_id: UUID, purpose: Purpose, occasion: Occasion, email: EmailAddress) -> Secret | None:
        """Counted first: a link that is not mailed must not end the one that was."""
        uses: list[Use] = [(_MAILS, email)]
        if occasion in PER_HOUR:
            uses.append((Limit(f"{purpose} at {occasion}", PER_HOUR[occasion]), str(user_id)))
        if not self.limits.take_in(self.unit.connection, uses):
            return None
        link_id = uuid4()
        link = {
            "id": link_id,
            "user_id": user_id,
            "purpose": purpose,
            "occasion": occasion,
            "email": email if purpose is Purpose.CHANGE_EMAIL else None,
            "lifetime": LIFETIME[purpose],
        }
        run(self.unit.connection, _ISSUE, link)
        return Secret(self.keyring.sign(_TOKEN, link_id.hex))

    def find(self, token: Secret, *purposes: Purpose) -> Link:
        """Read on a connection that is released at once."""
        wanted = sa.select(links.c.user_id, links.c.purpose, links.c.email)
        with self.database.transaction() as connection:
            found = connection.execute(
                wanted.where(links.c.id == self._id_of(token), links.c.purpose.in_(purposes), _LIVE)
            ).one_or_none()
        if found is None:
            raise InvalidLink
        return Link(found.user_id, Purpose(found.purpose), found.email)

    def use(self, token: Secret, *purposes: Purpose) -> None:
        """One statement finds the link and ends it: of two requests with the same token, one finds nothing.

        The user is locked before the link, as everywhere, against deadlocks.
        """
        link_id = self._id_of(token)
        theirs = sa.select(links.c.user_id).where(links.c.id == link_id).scalar_subquery()
        owner = sa.select(users.c.id).where(users.c.id == theirs).with_for_update().cte("owner")
        used = self.unit.connection.execute(
            links.update()
            .where(links.c.id == link_id, links.c.user_id == owner.c.id, links.c.purpose.in_(purposes), _LIVE)
            .values(ended_at=sa.func.now())
        )
        if used.rowcount == 0:
            raise InvalidLink

    def end(self, user_id: UUID, *purposes: Purpose) -> None:
        """Ended links stay until they would have expired."""
        theirs = links.update().where(links.c.user_id == user_id, links.c.purpose.in_(purposes), _LIVE)
        self.unit.connection.execute(theirs.values(ended_at=sa.func.now()))

    def _id_of(self, token: Secret) -> UUID:
        try:
            return UUID(hex=self.keyring.verify(_TOKEN, token.value))
        except BadSignature:
            raise InvalidLink from None


LINKS = Retention(links.c.expires_at, timedelta())
"""Links that have expired."""
