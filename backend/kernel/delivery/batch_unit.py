"""The units of work of a batch: parts of one transaction, whose reads and writes are made for many messages at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, LiteralString, Self, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction

from backend.kernel.delivery.unit_of_work import Constraints, UnitOfWork
from backend.kernel.messages.event import Event
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.statements import run_rows

E = TypeVar("E")


class NotAtOnce(Exception):
    """The message cannot be processed in a batch."""


class BatchSession:
    """The ORM session of a batch.

    Args:
        connection: in the transaction of the batch.
        subjects: the ids of what the messages are about. They are loaded together, when the first message loads one.
    """

    def __init__(self, connection: sa.Connection, subjects: Collection[UUID]) -> None:
        self.orm = Session(connection, autoflush=False, expire_on_commit=False, join_transaction_mode="rollback_only")
        self.subjects = subjects
        self._entities: dict[tuple[type, UUID], Any] = {}
        self._loaded: set[type] = set()
        self._rows: dict[LiteralString, list[Mapping[str, Any]]] = defaultdict(list)

    def locked(self, kind: type[E], key: UUID) -> E | None:
        """As `UnitOfWork.locked`. What an earlier message changed is written before, so each change is a version."""
        if kind not in self._loaded:
            self._loaded.add(kind)
            self._load(kind)
        entity: E | None = self._entities.get((kind, key))
        if entity is None:
            self.flush()  # an earlier message may have added it
            entity = self._entities[kind, key] = self.orm.get(kind, key, with_for_update=True)
        elif self.orm.is_modified(entity):
            self.flush()
        return entity

    def _load(self, kind: type[Any]) -> None:
        """Lock the rows in the order of their keys, as every batch does."""
        key = sa.inspect(kind).primary_key[0]
        some: sa.Select[Any] = sa.select(kind).where(key.in_(self.subjects)).order_by(key).with_for_update()
        for entity in self.orm.scalars(some):
            self._entities[kind, sa.inspect(entity).identity[0]] = entity

    def insert(self, rows: Mapping[LiteralString, list[Mapping[str, Any]]]) -> None:
        """Write these rows with the next `flush`, by statement."""
        for statement, some in rows.items():
            self._rows[statement] += some

    def flush(self) -> None:
        """Write what the messages have changed so far."""
        self.orm.flush()
        rows, self._rows = self._rows, defaultdict(list)
        for statement, some in rows.items():
            run_rows(self.orm.connection(), statement, some)

    def forget(self) -> None:
        """Load again what is asked for: statements or a rollback have changed what the session knows."""
        self.orm.expunge_all()
        self._entities.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the connection; its transaction goes on."""
        self.orm.close()


class BatchUnit(UnitOfWork):
    """The part of one message.

    As long as it uses nothing but `locked`, `add`, `save` and `insert`, it writes nothing itself: the batch does.
    A handler that uses the session or the connection gets a savepoint, which a refusal rolls back.
    """

    def __init__(
        self,
        database: Database,
        together: BatchSession,
        first: Callable[[sa.Connection], None] | None,
        message_id: UUID,
        accepted_at: str,
    ) -> None:
        super().__init__(database, first, message_id, accepted_at)
        self._together = together
        self._savepoint: SessionTransaction | None = None
        self._entities: list[Any] = []
        self._rows: dict[LiteralString, list[Mapping[str, Any]]] = defaultdict(list)
        self._undoable = True

    def open(self) -> None:
        """Run `first`, unless it has run."""
        first, self._first = self._first, None
        if first is not None:
            first(self._together.orm.connection())

    @property
    def session(self) -> Session:
        """The session of the batch, in a savepoint, with everything written that was changed so far."""
        self.open()
        if self._savepoint is None:
            self._undoable = not self._has_changes()
            self._together.insert(self._rows)
            self._together.flush()
            self._savepoint = self._together.orm.begin_nested()
        return self._together.orm

    def locked(self, kind: type[E], key: UUID) -> E | None:
        """As `UnitOfWork.locked`."""
        self.open()
        entity = self._together.locked(kind, key)
        if entity is not None:
            self._entities.append(entity)
        return entity

    def add(self, entity: object, taken: Constraints) -> None:
        """As `UnitOfWork.add`."""
        if self._savepoint is None:
            self.open()
            self._together.orm.add(entity)
            self._entities.append(entity)
        else:
            super().add(entity, taken)

    def save(self, taken: Constraints) -> None:
        """As `UnitOfWork.save`."""
        if self._savepoint is not None:
            super().save(taken)

    def insert(self, statement: LiteralString, row: Mapping[str, Any]) -> None:
        """As `UnitOfWork.insert`."""
        if self._savepoint is None:
            self._rows[statement].append(row)
        else:
            super().insert(statement, row)

    def pull_events(self) -> list[Event]:
        """As `UnitOfWork.pull_events`. Without a savepoint nobody has looked at the database yet."""
        if self._savepoint is not None:
            self._together.orm.flush()
        return super().pull_events()

    def commit(self) -> None:
        """Leave the changes to the batch."""
        self.open()
        if self._savepoint is None:
            self._together.insert(self._rows)
        else:
            self._savepoint.commit()
            self._together.forget()

    def roll_back(self) -> None:
        """Undo what the message changed, and drop its events.

        Raises:
            NotAtOnce: something was changed before the savepoint, or without one.
        """
        if not self._undoable or (self._savepoint is None and self._has_changes()):
            raise NotAtOnce
        if self._savepoint is not None:
            self._savepoint.rollback()
            self._together.forget()
        for aggregate in self._aggregates:
            aggregate.pull_events()
        super().roll_back()
        self._savepoint, self._rows = None, defaultdict(list)

    def _has_changes(self) -> bool:
        return bool(self._rows) or any(self._together.orm.is_modified(entity) for entity in self._entities)
