"""Queries: which function of a context answers which query, and the reader that calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast
from uuid import UUID

import sqlalchemy as sa

from backend.kernel.messages.message import Progress, Query
from backend.kernel.messages.registry import Unhandled
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.statements import driver_of

R = TypeVar("R")

Answer = Callable[[Any, ReadConnection], Any]
Offered = Mapping[type, Callable[[Any], Any]]
"""Answers that need more than a connection, or no connection during slow work, by the type of the query."""
TellProgress = Callable[[UUID, ReadConnection], Progress | None]
"""Returns the progress of an operation; None if it has none yet."""


class Queries:
    """The queries of a context: the type of each, and the function that answers it."""

    def __init__(self) -> None:
        self.answers: dict[type, Answer] = {}
        self.progress: dict[str, TellProgress] = {}

    def on(
        self, query: type[Query[R]]
    ) -> Callable[[Callable[[Any, ReadConnection], R]], Callable[[Any, ReadConnection], R]]:
        """Register the decorated function to answer `query`."""

        def register(function: Callable[[Any, ReadConnection], R]) -> Callable[[Any, ReadConnection], R]:
            self.answers[query] = function
            return function

        return register

    def progress_of(self, command_name: str) -> Callable[[TellProgress], TellProgress]:
        """Register the decorated function to report the progress of a command's operation."""

        def register(function: TellProgress) -> TellProgress:
            self.progress[command_name] = function
            return function

        return register


class Reader:
    """Answers every query of a program."""

    def __init__(self, database: Database, contexts: Iterable[Queries], offered: Iterable[Offered] = ()) -> None:
        self._database = database
        self._offered = {query: answer for one in offered for query, answer in one.items()}
        self._answers: dict[type, Answer] = {}
        self._progress: dict[str, TellProgress] = {}
        for queries in contexts:
            self._answers.update(queries.answers)
            self._progress.update(queries.progress)
        self.steps = frozenset(self._progress)

    def ask(self, query: Query[R], *, fresh: bool = False) -> R:
        """Answer a query.

        Args:
            fresh: ask the primary, so that the caller sees its own write even if queries go to a replica.

        Raises:
            Refusal: such as NotFound.
            DatabaseAway: PostgreSQL cannot be reached.
        """
        offered = self._offered.get(type(query))
        if offered is not None:
            return cast("R", offered(query))
        answer = self._answer_to(query)
        return cast("R", self._database.read(lambda connection: answer(query, connection), fresh=fresh))

    def ask_within(self, connection: sa.Connection, query: Query[R]) -> R:
        """Answer a query in the connection's transaction."""
        return cast("R", self._answer_to(query)(query, driver_of(connection)))

    def progress_of(self, command_name: str, operation_id: UUID) -> Progress | None:
        """The progress of an operation; None for a command of one step."""
        tell = self._progress.get(command_name)
        return self._database.read(lambda connection: tell(operation_id, connection), fresh=True) if tell else None

    def _answer_to(self, query: Query[Any]) -> Answer:
        try:
            return self._answers[type(query)]
        except KeyError:
            raise Unhandled(f"no context answers {type(query).__name__}") from None
