"""The composition root: the contexts of this program, and the parts of one process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property, partial
from uuid import UUID

import flask
import sqlalchemy as sa

from backend.contexts.auth.context import context as auth
from backend.contexts.notifications.context import context as notifications
from backend.contexts.operators.context import context as operators
from backend.contexts.products.context import context as products
from backend.contexts.users.context import context as users
from backend.kernel.context import AnyContext
from backend.kernel.delivery import dead_letters, inbox, outbox, retries, schedule, timers
from backend.kernel.delivery.batches import BatchReceiver
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.envelope import Queue
from backend.kernel.delivery.handling import Handling
from backend.kernel.delivery.pauses import Pauses
from backend.kernel.delivery.receive import AccountOf, Receiver
from backend.kernel.delivery.relay import Relay
from backend.kernel.http.caller import Authenticate
from backend.kernel.http.problems import problem_of
from backend.kernel.http.web import create_app
from backend.kernel.messages.authority import Account
from backend.kernel.messages.registry import Registry
from backend.kernel.observe import audit, workers
from backend.kernel.postgres import counters
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.queries import Reader
from backend.kernel.postgres.retention import purge
from backend.kernel.postgres.tables import metadata
from backend.kernel.resources import Resources
from backend.settings import Settings, load_settings

CONTEXTS: tuple[AnyContext, ...] = (
    auth,
    notifications,
    operators,
    products,
    users,
)

_KERNEL_RETENTION = (
    inbox.RETENTION,
    audit.RETENTION,
    dead_letters.RETENTION,
    counters.RETENTION,
    workers.RETENTION,
    retries.RETENTION,
)


class Program:
    """The settings and the contexts, and what is derived from them."""

    def __init__(self, settings: Settings, contexts: Sequence[AnyContext] = CONTEXTS) -> None:
        self.settings = settings
        self.contexts = tuple(contexts)
        self.registry = Registry(context.handlers for context in self.contexts)

    @property
    def metadata(self) -> sa.MetaData:
        """The tables of the kernel and of the contexts."""
        return metadata

    def process(self, queue: Queue) -> Process:
        """The parts of one process; through `queue` it sends messages to the workers."""
        return Process(self, queue)


class Process:
    """The parts of one process, each created on first use. Nothing connects before its first use.

    Whichever contexts it serves, it has the handlers of all: an event is published to the lanes of all its subscribers.
    """

    def __init__(self, program: Program, queue: Queue) -> None:
        self.program = program
        self.settings = program.settings
        self.queue = queue
        self.registry = program.registry

    @cached_property
    def resources(self) -> Resources:
        """Settings, keys and connections."""
        contexts = self.program.contexts
        return Resources(
            self.settings,
            self.registry,
            lambda resources: Reader(
                resources.database,
                (context.queries for context in contexts),
                (context.offered(resources) for context in contexts if context.offered is not None),
            ),
            next((context.attempts for context in contexts if context.attempts is not None), None),
        )

    @cached_property
    def bus(self) -> Bus:
        """The API's side of the bus."""
        return Bus(
            database=self.resources.database,
            registry=self.registry,
            reader=self.resources.reader,
            codec=self.resources.codec,
            sealer=self.resources.sealer,
            handling=self._handling,
            queue=self.queue,
            relay=self.relay,
            hear=self.resources.hear,
            deadline=self.settings.publish_deadline,
            spool_limit=self.settings.spool_limit,
        )

    @cached_property
    def receiver(self) -> Receiver:
        """The worker's side of the bus."""
        return Receiver(
            database=self.resources.database,
            registry=self.registry,
            codec=self.resources.codec,
            sealer=self.resources.sealer,
            keyring=self.resources.keyring,
            handling=self._handling,
            relay=self.relay,
            pauses=Pauses(self.resources.database),
            problem_of=problem_of,
            account_of=self._account_of,
            with_texts=not self.settings.production,
        )

    @cached_property
    def batches(self) -> BatchReceiver:
        """The worker's side of the bus for messages that wait together."""
        return BatchReceiver(self.receiver)

    @cached_property
    def relay(self) -> Relay:
        """The relay: publishes right after a commit."""
        return Relay(self.resources.database, self.queue, self.settings.publish_deadline)

    def web(self, authenticate: Authenticate | None = None) -> flask.Flask:
        """The web application.

        Args:
            authenticate: replaces the check of access tokens and sessions.
        """
        return create_app(self.resources, self.bus, self.program.contexts, authenticate)

    def sweep(self) -> int:
        """Publish what is due, and what a crash or an absent broker left in the outbox; returns how many messages."""
        database, total = self.resources.database, 0
        schedule.start_due(database, self.registry.queued().values(), self.resources.codec)
        while True:
            more = timers.move_due(database) == timers.BATCH
            sent = outbox.sweep(database, self.queue)
            total += sent
            if not (more and sent):
                return total

    def note_run(self, name: str, rule: str, started_at: datetime, result: str) -> None:
        """Record how a run of housekeeping ended."""
        schedule.note_run(self.resources.database, name, rule, started_at, result)

    def purge(self, batch: int = 1000) -> int:
        """Delete what is past its retention, in batches; returns how many rows."""
        own = (retention for context in self.program.contexts for retention in context.retention)
        return purge(self.resources.database, (*_KERNEL_RETENTION, *own), batch)

    def close(self) -> None:
        """Publish what remains, then close the connections."""
        self.relay.close()
        self.resources.close()

    @property
    def _account_of(self) -> AccountOf:
        offered = [context.account_of for context in self.program.contexts if context.account_of is not None]
        return offered[0] if offered else _no_account

    @cached_property
    def _handling(self) -> Handling:
        open_ports = {
            context.handlers.context: partial(context.open_ports, self.resources) for context in self.program.contexts
        }
        return Handling(self.registry, open_ports, self.resources.codec)


def _no_account(_connection: ReadConnection, _user_id: UUID) -> Account | None:
    """Used if no context of this program has accounts."""
    return None


def load_program() -> Program:
    """The program as the environment configures it.

    Raises:
        SettingsError: a value is missing, malformed, or unsafe in production.
    """
    own = [context.settings for context in CONTEXTS if context.settings is not None]
    return Program(load_settings(own, [context.name for context in CONTEXTS]), CONTEXTS)
