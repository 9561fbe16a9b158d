"""The answer to `ProvePassword`."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from backend.contexts.users.application.queries import ProvePassword
from backend.contexts.users.infrastructure.passwords import BcryptHasher, hasher_of
from backend.contexts.users.infrastructure.tables import PASSWORD_COST, users
from backend.kernel.messages.secret import Secret
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.statements import Statement
from backend.kernel.resources import Resources

_NOBODY = UUID(int=0)


@dataclass(frozen=True)
class _Kept:
    password_hash: str
    password_version: int


@dataclass(frozen=True)
class _Costs:
    most: int | None


_KEPT = Statement(
    sa.select(*(users.c[name] for name in _Kept.__dataclass_fields__)).where(users.c.id == sa.bindparam("id")), _Kept
)
_COSTS = Statement(sa.select(sa.cast(sa.func.max(PASSWORD_COST), sa.Integer).label("most")).select_from(users), _Costs)


@dataclass(frozen=True)
class PasswordProofs:
    """Checks passwords for other contexts, which never see a hash.

    Guarantee: the time does not reveal whether an account exists, or how old its hash is. Every check costs as
    much as the most expensive hash in use.
    """

    database: Database
    hasher: BcryptHasher

    def prove(self, query: ProvePassword) -> int | None:
        """The hash of a correct password is renewed when it has an earlier cost, key or spelling."""
        stored, rounds = self.database.read(lambda primary: _look_up(primary, query.user_id or _NOBODY), fresh=True)
        rounds = max(rounds, self.hasher.rounds)
        spelling = self.hasher.spelling_of(query.password, stored.password_hash if stored else None, rounds)
        if stored is None or spelling is None or query.user_id is None:
            return None
        if not self.hasher.is_current(stored.password_hash, spelling):
            self._renew(query.user_id, stored.password_hash, query.password)
        return stored.password_version

    def _renew(self, user_id: UUID, old: str, password: Secret) -> None:
        """Store the new hash. The change is invisible: the user's version and `updated_at` stay."""
        renewed = users.update().where(users.c.id == user_id, users.c.password_hash == old)
        values = {"password_hash": self.hasher.hash(password), "updated_at": users.c.updated_at}
        with self.database.transaction() as connection:
            connection.execute(renewed.values(values))


def _look_up(primary: ReadConnection, user_id: UUID) -> tuple[_Kept | None, int]:
    costs = _COSTS.one(primary)
    return _KEPT.one(primary, id=user_id), (costs.most if costs else None) or 0


def proofs_of(resources: Resources) -> PasswordProofs:
    """The proofs of this process."""
    return PasswordProofs(resources.database, resources.once(hasher_of))
