"""The API's side of the bus: it answers queries, executes synchronous commands and dispatches commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from time import monotonic
from typing import NoReturn, TypeVar, cast
from uuid import UUID

import psycopg
import structlog
from msgspec import structs

from backend.kernel.delivery import inbox, lanes, outbox
from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.envelope import Envelope, LaneFull, MessageRefused, Queue, QueueUnavailable
from backend.kernel.delivery.handling import Handled, Handling, through_conflicts
from backend.kernel.delivery.relay import Relay
from backend.kernel.delivery.sealing import Sealer
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command, Progress, Query, SyncCommand
from backend.kernel.messages.registry import Handler, Registry
from backend.kernel.observe import metrics
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.faults import DatabaseAway
from backend.kernel.postgres.queries import Reader

R = TypeVar("R")

_SPOOL_SHARE = 0.3
"""The part of the publish deadline that is reserved for the spool, in case the broker does not answer."""

_NOTE_EVERY = 5.0
"""Seconds between two notes of this process that a lane is full: there may be thousands of refusals a second."""

log = structlog.get_logger(__name__)


class Unavailable(Exception):
    """Neither broker nor spool accepted the command in time, or its lane is full: nothing was accepted."""


class Way(StrEnum):
    """Where an accepted command is stored."""

    BROKER = "broker"  # RabbitMQ confirmed it
    SPOOL = "spool"  # it waits in the outbox until the broker is back


@dataclass(frozen=True)
class Accepted:
    """An accepted command."""

    operation_id: UUID
    way: Way


Hear = Callable[[str, Sequence[str]], None]
"""Receives the payloads that a synchronous command sent on a NOTIFY channel."""


@dataclass(frozen=True)
class Bus:
    """The API's entry to the application layer.

    Attributes:
        hear: receives what a synchronous command notified, after its commit and before its
            answer: an answer may arrive before a notification.
        deadline: seconds a command may take to be accepted.
        spool_limit: the number of messages in the outbox above which commands are refused; for those of anonymous
            callers half of it, so that they cannot keep everybody else out.
    """

    database: Database
    registry: Registry
    reader: Reader
    codec: Codec
    sealer: Sealer
    handling: Handling
    queue: Queue
    relay: Relay
    hear: Hear
    deadline: float
    spool_limit: int
    _noted: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def ask(self, query: Query[R], *, fresh: bool = False) -> R:
        """Answer a query: see `Reader.ask`."""
        return self.reader.ask(query, fresh=fresh)

    def execute(self, command: SyncCommand[R]) -> R:
        """Process a synchronous command now, in one transaction.

        Raises:
            Refusal: a rule of the domain refuses it.
            DatabaseAway: PostgreSQL cannot be reached.
        """
        handler = self.registry.handlers[type(command)]
        done = through_conflicts(lambda: self._execute(handler, command))
        if done.refusal is not None:
            # Its events are left to the sweep: the time of a refusal must not reveal that there are some.
            raise done.refusal
        self.relay.publish(done.to_relay)
        return cast("R", done.answer)

    def dispatch(
        self, command: Command, operation_id: UUID, *, fingerprint: str = "", resource: str = "", waiting: bool = False
    ) -> Accepted:
        """Send a command to the workers, durably, within the publish deadline.

        Raises:
            Unavailable: neither the broker nor the spool accepted it.
        """
        started = monotonic()
        envelope = self.codec.of_command(
            command, operation_id, fingerprint=fingerprint, resource=resource, waiting=waiting
        )
        try:
            self.queue.send(envelope, self.deadline * (1 - _SPOOL_SHARE))
            way = Way.BROKER
        except LaneFull as error:  # the spool is for a broker that is away: it would only hide that work piles up
            self._note_full(envelope.lane)
            self._refuse(envelope, error, "lane_full")
        except QueueUnavailable as error:
            if isinstance(error, MessageRefused):
                self._note_full(envelope.lane)
            anonymous = self.registry.handlers[type(command)].anonymous
            most = self.spool_limit // 2 if anonymous else self.spool_limit
            self._spool(envelope, self.deadline - (monotonic() - started), most)
            way = Way.SPOOL
        metrics.command_accepted(envelope.name, way)
        log.info("command accepted", operation_id=str(operation_id), command=envelope.name, way=way)
        return Accepted(operation_id, way)

    def outcome_of(self, operation_id: UUID) -> inbox.Outcome | None:
        """The outcome of the operation; None while it is pending."""
        return self.database.read(lambda connection: inbox.outcome_of(connection, operation_id), fresh=True)

    def progress_of(self, command_name: str, operation_id: UUID) -> Progress | None:
        """The progress of the operation; None for a command of one step."""
        return self.reader.progress_of(command_name, operation_id)

    def _execute(self, handler: Handler, command: object) -> Handled:
        with UnitOfWork(self.database) as unit:
            done = self.handling.handle(handler, command, unit)
            unit.commit()
            for channel, payloads in unit.notices.items():
                self.hear(channel, payloads)
            return done

    def _spool(self, envelope: Envelope, seconds_left: float, most: int) -> None:
        envelope = self.sealer.signed(replace(envelope, headers=structs.replace(envelope.headers, spooled=True)))
        try:
            self.database.read(
                lambda primary: outbox.spool(primary, envelope, most),
                timeout=max(seconds_left, 0.1),
                fresh=True,
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the command is not kept
            self._refuse(envelope, error, "not_stored")

    def _note_full(self, lane: str) -> None:
        """Let operators see it: the lane's bound may be a policy, of which only RabbitMQ knows."""
        now = monotonic()
        if now - self._noted.get(lane, -_NOTE_EVERY) < _NOTE_EVERY:
            return
        self._noted[lane] = now
        with suppress(DatabaseAway, psycopg.Error):
            self.database.read(lambda primary: lanes.note_refused(primary, lane), timeout=0.1, fresh=True)

    def _refuse(self, envelope: Envelope, error: Exception, why: str) -> NoReturn:
        metrics.command_refused(envelope.name, why)
        log.warning("no room for a command", command=envelope.name, lane=envelope.lane, reason=type(error).__name__)
        raise Unavailable from None
