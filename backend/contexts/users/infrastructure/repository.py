"""The stored users, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from backend.contexts.users.domain.errors import EmailTaken, UsernameTaken, UserNotFound
from backend.contexts.users.domain.user import User
from backend.contexts.users.infrastructure.tables import users
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.authority import Account
from backend.kernel.messages.refusals import Refusal
from backend.kernel.messages.values import EmailAddress, folded
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.retention import Retention
from backend.roles import Role

_TAKEN: dict[str, type[Refusal]] = {"users_email_key": EmailTaken, "users_username_key_key": UsernameTaken}
_ADMINS = sa.func.hashtextextended("users.admins", 0)
"""The lock that every change which removes an admin holds until its commit."""

_PROVEN_WITHIN = timedelta(days=30)


@dataclass(frozen=True)
class SqlUsers:
    """`Users` within one unit of work. The unique constraints decide every race."""

    unit: UnitOfWork
    database: Database

    def add(self, user: User) -> None:
        """Insert a new user."""
        self.unit.track(user)
        with self.unit.refusing(_TAKEN):
            self.unit.session.add(user)
            self.unit.session.flush()

    def get(self, user_id: UUID) -> User:
        """One user, locked until the transaction ends."""
        user = self.unit.locked(User, user_id)
        if user is None:
            raise UserNotFound
        return self.unit.track(user)

    def peek(self, user_id: UUID) -> User:
        """One user, read on a connection that is released at once."""
        with Session(self.database.engine) as session:
            user = session.get(User, user_id)
        if user is None:
            raise UserNotFound
        return user

    def save(self, user: User) -> None:
        """Write the changes. A violated constraint raises its refusal."""
        self.unit.save(_TAKEN)

    def claim_username(self, user: User) -> None:
        """Try it within a savepoint."""
        with self.unit.refusing(_TAKEN), self.unit.session.begin_nested():
            user.take_wanted_username()
            self.unit.session.flush()

    def remove(self, user: User) -> None:
        """Delete the row, and by cascade those that refer to it."""
        self.unit.session.delete(user)
        self.unit.session.flush()

    def hold_address(self, email: EmailAddress) -> None:
        """Take a lock that is named after the address."""
        name = sa.func.hashtextextended(f"users.address {email}", 0)
        self.unit.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(name)))

    def holder_of(self, email: EmailAddress) -> User | None:
        """The user with this address, locked."""
        found = self._locked(sa.select(User).where(users.c.email == email, ~users.c.pending))
        return found[0] if found else None

    def waiting_for(self, email: EmailAddress) -> Sequence[User]:
        """The pending accounts, locked."""
        waiting = sa.select(User).where(users.c.email == email, users.c.pending)
        return self._locked(waiting.order_by(users.c.created_at.desc(), users.c.id.desc()))

    def is_username_taken(self, username: str) -> bool:
        """Whether the unique index has it."""
        taken = sa.select(sa.exists().where(users.c.username_key == folded(username)))
        return bool(self.unit.connection.scalar(taken))

    def is_last_admin(self, user: User) -> bool:
        """Lock first: the next statement then sees what the previous holder committed."""
        self.unit.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADMINS)))
        another = sa.exists().where(users.c.roles.contains([Role.ADMIN]), users.c.is_active, users.c.id != user.id)
        return not self.unit.connection.scalar(sa.select(another))

    def _locked(self, select: sa.Select[User]) -> Sequence[User]:
        found: Sequence[User] = self.unit.session.scalars(select.with_for_update()).all()
        return [self.unit.track(user) for user in found]


def account_of(connection: ReadConnection, user_id: UUID) -> Account | None:
    """The current account of a user; None if it does not exist or is not active."""
    roles = connection.execute("select roles from users where id = %s and is_active", [user_id]).fetchone()
    return Account(user_id, frozenset(roles[0])) if roles else None


REGISTRATIONS = Retention(users.c.created_at, _PROVEN_WITHIN, only=users.c.pending)
"""Accounts whose address was not verified."""
