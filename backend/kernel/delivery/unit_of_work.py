"""One transaction: what a handler reads, changes and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from time import perf_counter
from types import TracebackType
from typing import Any, LiteralString, Self, TypeVar
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from backend.kernel.messages.aggregate import Aggregate
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command
from backend.kernel.messages.refusals import Refusal
from backend.kernel.observe import metrics
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.faults import DatabaseAway, has_answered
from backend.kernel.postgres.statements import run_rows

A = TypeVar("A", bound=Aggregate)
E = TypeVar("E")
Constraints = Mapping[str, type[Refusal]]
"""By the name of a unique constraint: the refusal that stands for its violation."""


class UnitOfWork:
    """Opens its transaction on the first use of `session`, so that slow work before it holds no connection.

    Args:
        first: runs first in the new transaction; the inbox claims its message there.

    Attributes:
        message_id: of the processed message, the same at each delivery; a new id if there is no message.
        accepted_at: when the message was accepted; now for a synchronous command.
        notices: the payloads of every `notify`, by channel.
        about: the user or resource concerned, for the audit log, if the message itself does not say:
            a sign-in finds its user only while it runs.
        detail: what else is concerned, for the audit log.
        reason: why an operator does it, for the audit log.
    """

    about: UUID | None = None
    detail: str = ""
    reason: str = ""

    def __init__(
        self,
        database: Database,
        first: Callable[[sa.Connection], None] | None = None,
        message_id: UUID | None = None,
        accepted_at: str = "",
    ) -> None:
        self.message_id = message_id or uuid7()
        self.accepted_at = datetime.fromisoformat(accepted_at) if accepted_at else datetime.now(UTC)
        self._database = database
        self._first = first
        self._session: Session | None = None
        self._begun = 0.0
        self._aggregates: list[Aggregate] = []
        self.notices: dict[str, list[str]] = {}
        self._later: list[tuple[Command, timedelta]] = []
        self._undo: list[Callable[[], None]] = []

    @property
    def session(self) -> Session:
        """The ORM session of the transaction."""
        if self._session is None:
            session = Session(self._database.engine, autoflush=False, expire_on_commit=False)
            self._session, self._begun = session, perf_counter()
            if self._first is not None:
                self._first(session.connection())
        return self._session

    def open(self) -> None:
        """Begin the transaction, unless it has begun."""
        _ = self.session

    def rehearse(self) -> None:
        """Run `first` and undo it, to learn before slow work what it raises. It runs again with the transaction."""
        first = self._first
        self.open()
        self.roll_back()
        self._first = first

    @property
    def connection(self) -> sa.Connection:
        """The transaction's connection, for statements in Core."""
        return self.session.connection()

    def locked(self, kind: type[E], key: UUID) -> E | None:
        """The entity with this key, locked until the transaction ends; None if there is none."""
        return self.session.get(kind, key, with_for_update=True)

    def add(self, entity: object, taken: Constraints) -> None:
        """Store a new entity.

        Args:
            taken: the refusals of the unique constraints that it may violate. A batch is undone then, and the refusal
                raised when the message is received alone.
        """
        with self.refusing(taken), self.session.begin_nested():
            self.session.add(entity)

    def save(self, taken: Constraints) -> None:
        """Write what was changed.

        Args:
            taken: as for `add`.
        """
        with self.refusing(taken):
            self.session.flush()

    def insert(self, statement: LiteralString, row: Mapping[str, Any]) -> None:
        """Write a row, at the latest when the transaction commits.

        Args:
            statement: fixed; for any number of rows, see `run_rows`.
        """
        run_rows(self.connection, statement, [row])

    def track(self, aggregate: A) -> A:
        """Publish this aggregate's events when the transaction commits."""
        if not any(tracked is aggregate for tracked in self._aggregates):
            self._aggregates.append(aggregate)
        return aggregate

    def later(self, command: Command, delay: timedelta) -> None:
        """Send the command after `delay`, if, and only if, the transaction commits.

        It cannot be taken back: its handler checks whether it is still wanted.
        """
        self._later.append((command, delay))

    def pull_later(self) -> list[tuple[Command, timedelta]]:
        """Return the delayed commands since the last call."""
        later, self._later = self._later, []
        return later

    @contextmanager
    def refusing(self, constraints: Constraints) -> Iterator[None]:
        """Turn the violation of a named unique constraint into its refusal."""
        try:
            yield
        except IntegrityError as error:
            name = error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None
            if name is not None and name in constraints:
                raise constraints[name] from None
            raise

    def notify(self, channel: str, payload: str) -> None:
        """Notify every process that listens on the channel, when the transaction commits."""
        self.connection.execute(sa.select(sa.func.pg_notify(channel, payload)))
        self.notices.setdefault(channel, []).append(payload)

    def undo_after_fault(self, undo: Callable[[], None]) -> None:
        """Call it if PostgreSQL refuses this transaction: it takes back what was written in another one before."""
        self._undo.append(undo)

    def pull_events(self) -> list[Event]:
        """Write pending changes, then return the events of every tracked aggregate."""
        if self._session is not None:
            self._session.flush()
        return [event for aggregate in self._aggregates for event in aggregate.pull_events()]

    def commit(self) -> None:
        """Commit the transaction."""
        self.session.commit()
        metrics.transaction_committed(perf_counter() - self._begun)

    def roll_back(self) -> None:
        """Undo everything and drop the events. What follows is a new transaction, without `first`."""
        if self._session is not None:
            self._session.close()
        self._session, self._first, self._aggregates, self.notices, self._later = None, None, [], {}, []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Roll back what was not committed and release the connection."""
        if self._session is not None:
            self._session.close()
        if error is not None and has_answered(error):
            for undo in self._undo:
                with suppress(DatabaseAway):
                    undo()
