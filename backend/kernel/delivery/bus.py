"""The bus: questions are asked, synchronous commands executed, commands dispatched and received."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from threading import Condition
from time import monotonic
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

import sqlalchemy as sa
import structlog
from uuid_utils.compat import uuid7

from backend.kernel.delivery import dead_letters, outbox
from backend.kernel.delivery import inbox as operations
from backend.kernel.delivery.codec import Codec, Undecodable
from backend.kernel.delivery.dead_letters import DeadLetter
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE, Envelope, Queue, QueueUnavailable
from backend.kernel.delivery.sealing import Keyring
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.http.problems import code_of, internal_error, problem_of
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command, Progress, Query, SyncCommand
from backend.kernel.messages.origin import Context, current_context
from backend.kernel.messages.refusals import Refusal
from backend.kernel.messages.registry import Handler, Handlers, Lane
from backend.kernel.observe import audit, metrics
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.faults import DatabaseAway, is_conflict, is_database_away
from backend.kernel.postgres.queries import Queries, TellProgress
from backend.kernel.postgres.statements import driver_of

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")
Purge = Callable[[sa.Connection, int], int]
"""Deletes at most so many rows past their retention; returns how many went."""
_CONFLICT_TRIES = 5
_MOST_RELAYS = 32
"""Messages whose events may wait for the relay, before the next one is begun."""
_SPOOL_SHARE = 0.3
"""The part of the publish deadline kept for the spool, should the broker not answer."""
log = structlog.get_logger(__name__)


class Unavailable(Exception):
    """Neither broker nor spool took the command in time: nothing was accepted."""


@dataclass(frozen=True)
class Accepted:
    """A command that will be carried out.

    Attributes:
        way: `broker` when RabbitMQ confirmed it, `spool` when it waits in the outbox.
    """

    operation_id: UUID
    way: Literal["broker", "spool"]


class Bus:
    """The one door to the application layer, for the API and for the workers."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        keyring: Keyring,
        publish_deadline: float = 2.0,
        spool_limit: int = 10_000,
    ) -> None:
        self.database = database
        self.queue = queue
        self._codec = Codec(keyring)
        self._publish_deadline = publish_deadline
        self._spool_limit = spool_limit
        self._ports: dict[str, Callable[[UnitOfWork], Any]] = {}
        self._handlers: dict[str, Handler] = {}
        self._by_message: dict[type, list[Handler]] = {}
        self._queries: dict[type, Callable[[Any, ReadConnection], Any]] = {}
        self._progress: dict[str, TellProgress] = {}
        self._purges: list[Purge] = [operations.purge, audit.purge, dead_letters.purge]
        self._on_notices: dict[str, Callable[[Sequence[str]], None]] = {}
        self._relays = ThreadPoolExecutor(1, "relay")
        self._relaying = 0
        self._relayed = Condition()

    def include(self, handlers: Handlers[P], open_ports: Callable[[UnitOfWork], P]) -> None:
        """Add a context: its handlers, and how to open its ports for one transaction."""
        self._ports[handlers.context] = open_ports
        for handler in handlers:
            self._handlers[handler.name] = handler
            self._by_message.setdefault(handler.message, []).append(handler)

    def include_queries(self, queries: Queries) -> None:
        """Add the questions a context answers."""
        self._queries.update(queries.answers)
        self._progress.update(queries.progress)

    def on_notices(self, channel: str, action: Callable[[Sequence[str]], None]) -> None:
        """Hand the payloads that a synchronous command sent on that channel to `action`, once they are
        committed and before the command is answered: an answer may be quicker than a notification.
        """
        self._on_notices[channel] = action

    def ask(self, query: Query[R], *, fresh: bool = False) -> R:
        """Answer a question.

        Args:
            fresh: see the caller's own write even when queries go to a replica.

        Raises:
            Refusal: such as NotFound.
            DatabaseAway: PostgreSQL cannot be reached.
        """
        answer = self._queries[type(query)]
        return cast("R", self.database.read(lambda connection: answer(query, connection), fresh=fresh))

    def ask_within(self, unit: UnitOfWork, query: Query[R]) -> R:
        """Answer a question in the unit's transaction."""
        return cast("R", self._queries[type(query)](query, driver_of(unit.connection)))

    def execute(self, command: SyncCommand[R]) -> R:
        """Carry out a synchronous command, now, in one transaction.

        Raises:
            Refusal: the domain says no.
            DatabaseAway: PostgreSQL cannot be reached.
        """
        (handler,) = self._by_message[type(command)]
        answer, refusal, written = self._through_conflicts(lambda: self._execute(handler, command))
        if refusal is not None:
            # Its events are left to the sweep: how long a refusal takes must not tell that there were some.
            raise refusal
        self._relay(written)
        return cast("R", answer)

    def dispatch(self, command: Command, operation_id: UUID, **headers: Any) -> Accepted:
        """Hand a command to the workers, durably, within the publish deadline.

        Args:
            headers: what else the envelope carries: `fingerprint`, `resource`, `waiting`.

        Raises:
            Unavailable: neither the broker nor the spool took it.
        """
        started = monotonic()
        (handler,) = self._by_message[type(command)]
        envelope = self._envelope(operation_id, handler, command, accepted_at=datetime.now(UTC).isoformat(), **headers)
        deadline = self._publish_deadline
        try:
            self.queue.send(envelope, deadline * (1 - _SPOOL_SHARE))
            way: Literal["broker", "spool"] = "broker"
        except QueueUnavailable:
            self._spool(envelope, deadline - (monotonic() - started))
            way = "spool"
        metrics.command_accepted(handler.name, way)
        log.info("command accepted", operation_id=str(operation_id), command=handler.name, way=way)
        return Accepted(operation_id, way)

    def name_of(self, command: Command) -> str:
        """The command's wire name."""
        (handler,) = self._by_message[type(command)]
        return handler.name

    def revokes(self, command_name: str) -> bool:
        """Whether the command may end sessions."""
        handler = self._handlers.get(command_name)
        return handler is not None and handler.revokes

    def receive(self, envelope: Envelope) -> None:
        """Carry out a message, once however often it is delivered.

        A refusal of the domain is recorded as the operation's outcome. Serialization failures
        and deadlocks are tried again at once, a few times.

        Raises:
            Undecodable: the body does not fit, or no handler has that name.
            DatabaseAway: PostgreSQL cannot be reached; deliver it again later.
            Exception: any other fault; deliver it again later, a limited number of times.
        """
        handler = self._handlers.get(envelope.name)
        if handler is None:
            raise Undecodable(f"no handler is named {envelope.name}")
        message: object = self._codec.decode(handler.message, envelope.body)
        with self._context_of(envelope):
            try:
                refusal, written = self._through_conflicts(lambda: self._carry_out(handler, message, envelope))
            except operations.AlreadyDone:
                self._tell_the_waiting(envelope)
            else:
                log.info("message refused" if refusal else "message carried out", outcome=_outcome(refusal))
                self._relay_meanwhile(written)

    def give_up(self, envelope: Envelope, reason: str = dead_letters.FAULT, error: BaseException | None = None) -> None:
        """Record that the message is a dead letter, for operators and for the one who asks for its outcome.

        Args:
            reason: one of `dead_letters.REASONS`.
            error: the handler's last fault.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached; try again later.
        """
        self.bury(dead_letters.of_fault(envelope, reason, error))

    def bury(self, letter: DeadLetter) -> None:
        """Record a dead letter, and its operation as failed, once however often it is buried.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached; try again later.
        """
        with self.database.transaction() as connection:
            if letter.has_operation and not self._record_fault(connection, letter.envelope):
                log.info("dead letter dropped: its message was carried out before")
            else:
                dead_letters.record(connection, letter)

    def relay_leftovers(self) -> int:
        """Publish what crashes or an absent broker left in the outbox; returns how many messages."""
        return outbox.sweep(self.database, self.queue)

    def include_purge(self, purge: Purge) -> None:
        """Add something whose old rows `purge` deletes."""
        self._purges.append(purge)

    def purge(self, batch: int = 1000) -> int:
        """Delete what is past its retention, in batches; returns how many rows."""
        return sum(self._purge_all(purge, batch) for purge in self._purges)

    def outcome_of(self, operation_id: UUID) -> operations.Outcome | None:
        """How the operation ended, None while it has not."""
        return self.database.read(lambda connection: operations.outcome_of(connection, operation_id), fresh=True)

    def progress_of(self, command_name: str, operation_id: UUID) -> Progress | None:
        """How far the operation is, None for a command that is done in one step."""
        tell = self._progress.get(command_name)
        return self.database.read(lambda connection: tell(operation_id, connection), fresh=True) if tell else None

    def relayed(self) -> None:
        """Return once the events of every message received by now have been offered to the queue."""
        with self._relayed:
            self._relayed.wait_for(lambda: not self._relaying)

    def close(self) -> None:
        """Relay what is left to relay, then give back the database connections."""
        self._relays.shutdown()
        self.database.close()

    def _purge_all(self, purge: Purge, batch: int) -> int:
        total = 0
        while True:
            with self.database.transaction() as connection:
                gone = purge(connection, batch)
            total += gone
            if gone < batch:
                return total

    def _execute(self, handler: Handler, command: object) -> tuple[Any, Refusal | None, list[str]]:
        with UnitOfWork(self.database) as unit:
            answer, refusal = self._handle(handler, command, unit)
            written = self._write_events(unit)
            unit.commit()
            for channel, payloads in unit.notices.items():
                if channel in self._on_notices:
                    self._on_notices[channel](payloads)
            return answer, refusal, written

    def _carry_out(self, handler: Handler, message: object, envelope: Envelope) -> tuple[Refusal | None, list[str]]:
        if handler.lane is Lane.HASHING and self._was_done(envelope):
            raise operations.AlreadyDone
        claim = partial(operations.claim, envelope=envelope)
        with UnitOfWork(self.database, first=claim, message_id=envelope.id) as unit:
            answer, refusal = self._handle(handler, message, unit)
            if refusal is not None:
                self._fail(unit, envelope, refusal)
            written = self._write_events(unit)
            if _goes_on(answer):
                written += self._go_on(unit, envelope)
            else:
                operations.notify_waiting(unit.connection, envelope)
            unit.commit()
            return refusal, written

    def _was_done(self, envelope: Envelope) -> bool:
        """Asked before slow work, which would hash again, and count a failed attempt twice. The claim decides."""
        return "replay" not in envelope.headers and self.outcome_of(envelope.id) is not None

    def _go_on(self, unit: UnitOfWork, envelope: Envelope) -> list[str]:
        """The step is done, the command is not: the same message is sent again, its attempts counted anew."""
        operations.release(unit.connection, envelope)
        aggregate = f"operation:{envelope.id}"
        headers = {name: value for name, value in envelope.headers.items() if name != "attempts"}
        outbox.write(unit.connection, [(aggregate, replace(envelope, headers=headers))])
        return [aggregate]

    def _handle(self, handler: Handler, message: object, unit: UnitOfWork) -> tuple[Any, Refusal | None]:
        """The handler's answer, or its refusal, which undoes what it wrote unless it keeps its effects."""
        answer, refusal = None, None
        try:
            answer = handler.function(message, self._ports[handler.context](unit))
        except Refusal as error:
            refusal = error
            if not error.keeps_effects:
                unit.roll_back()
        if handler.audited and not _goes_on(answer):
            about = unit.about or audit.subject(handler.message, vars(message))
            audit.write(unit.connection, handler.name, about, _outcome(refusal))
        return answer, refusal

    def _fail(self, unit: UnitOfWork, envelope: Envelope, refusal: Refusal) -> None:
        problem = problem_of(refusal, envelope.headers.get("request_id", ""))
        if refusal.keeps_effects:
            operations.turn_into_failure(unit.connection, envelope, problem)
        elif not operations.record_failure(unit.connection, envelope, problem):
            raise operations.AlreadyDone  # another delivery was quicker

    def _write_events(self, unit: UnitOfWork) -> list[str]:
        """Add the unit's events to the outbox; returns the aggregates that now have something to relay."""
        messages = [
            (event.subject, envelope)
            for event in unit.pull_events()
            for envelope in self._envelopes_of(event, unit.message_id)
        ]
        if messages:
            outbox.write(unit.connection, messages)
        return [aggregate for aggregate, _ in messages]

    def _envelopes_of(self, event: Event, cause: UUID) -> Iterator[Envelope]:
        """One message per subscriber, and the CloudEvents copy for the outside world."""
        headers = {"accepted_at": datetime.now(UTC).isoformat(), "cause": str(cause)}
        for handler in self._by_message.get(type(event), ()):
            yield self._envelope(uuid7(), handler, event, **headers)
        if event.public:
            yield self._announcement(event)

    def _announcement(self, event: Event) -> Envelope:
        """The event as CloudEvents 1.0, structured mode."""
        event_id, name = uuid7(), event.routing_key()
        body = {
            "specversion": "1.0",
            "id": str(event_id),
            "source": f"/{name.split('.')[0]}",
            "type": name,
            "subject": event.subject,
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": self._codec.encode(event),
        }
        if traceparent := current_context.get().traceparent:
            body["traceparent"] = traceparent
        return Envelope(event_id, name, EVENTS_EXCHANGE, body, {})

    def _envelope(self, message_id: UUID, handler: Handler, message: object, **headers: Any) -> Envelope:
        context = {name: str(value) for name, value in current_context.get()._asdict().items() if value}
        body = self._codec.encode(message)
        return Envelope(
            message_id,
            handler.name,
            handler.queue,
            body,
            context | {name: value for name, value in headers.items() if value},
        )

    @contextmanager
    def _context_of(self, envelope: Envelope) -> Iterator[None]:
        headers = {name: envelope.headers[name] for name in Context._fields if name in envelope.headers}
        actor = headers.pop("actor", None)
        token = current_context.set(Context(**headers, actor=UUID(actor) if actor else None))
        try:
            yield
        finally:
            current_context.reset(token)

    def _spool(self, envelope: Envelope, seconds_left: float) -> None:
        try:
            seconds = max(seconds_left, 0.1)
            self.database.read(
                lambda primary: outbox.spool(primary, envelope, self._spool_limit), timeout=seconds, fresh=True
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, it is not kept
            metrics.command_refused(envelope.name)
            log.warning("neither broker nor spool took a command", command=envelope.name, reason=type(error).__name__)
            raise Unavailable from None

    def _record_fault(self, connection: sa.Connection, envelope: Envelope) -> bool:
        """The operation failed; False when it had ended otherwise: a second copy of its message died."""
        problem = internal_error(envelope.headers.get("request_id", ""))
        handler = self._handlers.get(envelope.name)
        with self._context_of(envelope):
            first = operations.record_failure(connection, envelope, problem)
            if first and handler is not None and handler.audited:
                audit.write(connection, handler.name, audit.subject(handler.message, envelope.body), problem["code"])
        operations.notify_waiting(connection, envelope)
        return first or operations.ended_in_fault(connection, envelope.id)

    def _tell_the_waiting(self, envelope: Envelope) -> None:
        log.info("message was carried out before")
        if envelope.headers.get("waiting"):
            with self.database.transaction() as connection:
                operations.notify_waiting(connection, envelope)

    def _relay_meanwhile(self, aggregates: Sequence[str]) -> None:
        """Publish while the next message is carried out. Whoever is far ahead of its relays waits for them."""
        if aggregates:
            with self._relayed:
                self._relayed.wait_for(lambda: self._relaying < _MOST_RELAYS)
                try:
                    relay = self._relays.submit(copy_context().run, self._relay, aggregates)
                except RuntimeError:  # closed beside the message; what fails after the commit must not fail it
                    log.warning("outbox left to the sweep", reason="closed")
                    return
                self._relaying += 1
            relay.add_done_callback(self._note_relayed)

    def _note_relayed(self, _relay: Future[None]) -> None:
        with self._relayed:
            self._relaying -= 1
            self._relayed.notify_all()

    def _relay(self, names: Sequence[str]) -> None:
        """Publish what was just committed. What fails here is left to the sweep: the effect has happened."""
        if names:
            try:
                outbox.relay(self.database, self.queue, names, self._publish_deadline)
            except Exception as error:  # noqa: BLE001 - whatever it was
                log.warning("outbox left to the sweep", reason=type(error).__name__)

    def _through_conflicts(self, attempt: Callable[[], T]) -> T:
        for tries in range(1, _CONFLICT_TRIES + 1):
            try:
                return attempt()
            except Exception as error:
                if is_database_away(error):
                    raise DatabaseAway from None
                if not is_conflict(error) or tries == _CONFLICT_TRIES:
                    raise
        raise AssertionError("unreachable")


def _goes_on(answer: object) -> bool:
    """Whether what was done is one step of a command, and not its last."""
    return isinstance(answer, Progress) and answer.done < answer.total


def _outcome(refusal: Refusal | None) -> str:
    return code_of(refusal) if refusal else operations.SUCCEEDED
