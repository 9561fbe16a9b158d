"""The description of a context, as plain data. Everything else is derived from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click
import flask
import sqlalchemy as sa

from backend.kernel.delivery.receive import AccountOf
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.http.caller import Authenticate
from backend.kernel.http.openapi import Blueprint
from backend.kernel.messages.attempts import Attempts
from backend.kernel.messages.registry import Handlers
from backend.kernel.observe.timeline import StepsOf
from backend.kernel.postgres.listener import Channel
from backend.kernel.postgres.queries import Offered, Queries
from backend.kernel.postgres.retention import Retention
from backend.kernel.postgres.search_keys import SearchKeys
from backend.settings import ContextSettings

if TYPE_CHECKING:
    from backend.kernel.resources import Resources

P = TypeVar("P")


@dataclass(frozen=True)
class Context(Generic[P]):
    """A bounded context.

    Attributes:
        name: of its folder, its lanes and its wire names.
        handlers: its handlers, and others under its wire names.
        open_ports: opens the handlers' ports for one unit of work.
        queries: the queries it answers.
        offered: answers of queries that need more than a connection.
        routes: under the API's prefix.
        root_routes: at the root of the web application, such as well-known addresses.
        cli: its `flask` commands.
        retention: for how long its rows are kept.
        search_keys: its columns that are computed for searches.
        timeline: its steps in the timeline of a request.
        settings: the environment variables it reads.
        channels: its listeners in every API process, by NOTIFY channel.
        authenticate: turns an access token into a caller. One context of a program has it.
        authenticate_now: the same, with the session from the database.
        account_of: the current account of a user, in a transaction. One context of a program has it.
        after_restore: what it does to its rows after PostgreSQL was restored to an earlier state; returns a sentence.
        attempts: limits guesses of passwords, for every context. One context of a program has it.
    """

    name: str
    handlers: Handlers[P]
    open_ports: Callable[[Resources, UnitOfWork], P]
    queries: Queries = field(default_factory=Queries)
    offered: Callable[[Resources], Offered] | None = None
    routes: tuple[Blueprint, ...] = ()
    root_routes: Callable[[Resources], tuple[flask.Blueprint, ...]] | None = None
    cli: tuple[click.Command, ...] = ()
    retention: tuple[Retention, ...] = ()
    search_keys: tuple[SearchKeys, ...] = ()
    timeline: StepsOf | None = None
    settings: type[ContextSettings] | None = None
    channels: Callable[[Resources], Mapping[str, Channel]] | None = None
    authenticate: Callable[[Resources], Authenticate] | None = None
    authenticate_now: Callable[[Resources], Authenticate] | None = None
    account_of: AccountOf | None = None
    attempts: Callable[[Resources], Attempts] | None = None
    after_restore: Callable[[sa.Connection], str] | None = None

    @property
    def package(self) -> str:
        """The package of its code, with a trailing dot."""
        return f"{self.open_ports.__module__.rpartition('.')[0]}."


AnyContext = Context[Any]
