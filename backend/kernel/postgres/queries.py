"""The registry of questions: a query's type and the function that asks PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from backend.kernel.messages.message import Progress, Query
from backend.kernel.postgres.database import ReadConnection

R = TypeVar("R")
TellProgress = Callable[[UUID, ReadConnection], Progress | None]
"""From an operation's id to how far it is; None when nothing is known of it."""


class Queries:
    """The questions one context answers: a query's type and the function that asks PostgreSQL."""

    def __init__(self, context: str) -> None:
        self.context = context
        self.answers: dict[type, Callable[[Any, ReadConnection], Any]] = {}
        self.progress: dict[str, TellProgress] = {}

    def on(
        self, query: type[Query[R]]
    ) -> Callable[[Callable[[Any, ReadConnection], R]], Callable[[Any, ReadConnection], R]]:
        """Register the decorated function as the answer to `query`."""

        def register(function: Callable[[Any, ReadConnection], R]) -> Callable[[Any, ReadConnection], R]:
            self.answers[query] = function
            return function

        return register

    def progress_of(self, command_name: str) -> Callable[[TellProgress], TellProgress]:
        """Register the decorated function as what tells how far an operation of that command is."""

        def register(function: TellProgress) -> TellProgress:
            self.progress[command_name] = function
            return function

        return register
