"""The worker's side of the bus: it processes each message once, and gives up those that no retry can help."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from msgspec import structs
from opentelemetry.trace import SpanKind

from backend.kernel.delivery import addresses, dead_letters, inbox, outbox, retries, timers
from backend.kernel.delivery.codec import Codec, Undecodable
from backend.kernel.delivery.dead_letters import DeadLetter, Reason
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.handling import Handled, Handling, goes_on, outcome_of, through_conflicts, write
from backend.kernel.delivery.pauses import Pauses
from backend.kernel.delivery.relay import Relay
from backend.kernel.delivery.sealing import Sealer
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.keys import Keyring
from backend.kernel.messages.authority import Account
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Forbidden, InternalError, Refusal
from backend.kernel.messages.registry import Handler, Kind, Registry
from backend.kernel.observe import audit, metrics
from backend.kernel.observe.logging import summary
from backend.kernel.observe.tracing import continued
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.faults import DatabaseAway, is_database_away
from backend.kernel.postgres.statements import driver_of

AccountOf = Callable[[ReadConnection, UUID], Account | None]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Receiver:
    """The workers' entry to the application layer.

    Attributes:
        problem_of: turns a refusal and a request id into the problem for the caller.
        account_of: the current account of a user, in the connection's transaction; None if there is no active one.
        with_texts: whether operators and callers see the texts of exceptions: in development.
    """

    database: Database
    registry: Registry
    codec: Codec
    sealer: Sealer
    keyring: Keyring
    handling: Handling
    relay: Relay
    pauses: Pauses
    problem_of: Callable[[Refusal, str], dict[str, Any]]
    account_of: AccountOf
    with_texts: bool

    def receive(self, envelope: Envelope, traceparent: str | None = None) -> None:
        """Process a message. It takes effect once, however often it is delivered.

        A refusal of the domain is recorded as the operation's outcome. Serialization failures
        and deadlocks are retried at once, a few times.

        Args:
            traceparent: of the span in which it is processed.

        Raises:
            Forged: none of our processes wrote the message.
            UnknownKey: written with a key that this process does not have; redeliver it later.
            Away: a server that the handler needs is away; redeliver it until it is back.
            Expired: the inbox may have forgotten whether the message took effect.
            Undecodable: the body does not fit, or no handler has that name.
            DatabaseAway: PostgreSQL cannot be reached; redeliver it later.
            TransactionAborted: redeliver it later, a limited number of times.
            Exception: any other fault; redeliver it later, a limited number of times.
        """
        handler, origin = self.registry.by_name.get(envelope.name), origin_of(envelope.headers, traceparent)
        if handler is None:
            self.sealer.check(envelope)
            raise Undecodable(f"no handler is named {envelope.name}")
        message: object = self.codec.decode(handler.message, envelope)
        token = current_origin.set(origin)
        started = perf_counter()
        try:
            done = through_conflicts(lambda: self._process(handler, message, envelope))
        except inbox.AlreadyDone:
            metrics.message_ended(handler.name, "duplicate")
            self._note_done_before(envelope)
        else:
            metrics.message_ended(handler.name, "refused" if done.refusal else "succeeded", perf_counter() - started)
            if not goes_on(done.answer):
                observe_end(handler, envelope, inbox.Status.FAILED if done.refusal else inbox.Status.SUCCEEDED)
            log_end(handler, message, done.refusal)
            self.relay.publish_meanwhile(done.to_relay)
        finally:
            current_origin.reset(token)
            observe_wait(envelope)

    def findable(self, envelope: Envelope) -> Envelope:
        """The message as operators find it by the address in it."""
        return replace(envelope, address=addresses.digest_in(self.keyring, envelope.body))

    def check_pause(self, task: str) -> None:
        """Check that operators have not paused this kind of message.

        Raises:
            Paused: they have; set the message aside.
        """
        self.pauses.check(task)

    def set_aside(self, envelope: Envelope) -> None:
        """Keep a message whose kind is paused. The sweep sends it again when the pause has ended.

        Raises:
            Forged, UnknownKey: as `receive`.
            DatabaseAway: PostgreSQL cannot be reached; redeliver the message later.
        """
        self.sealer.check(envelope)
        with self.database.transaction() as connection:
            timers.set_aside(connection, envelope)
            retries.forget(connection, envelope)

    def failed_again(self, envelope: Envelope) -> Envelope:
        """The message to redeliver after a fault, with one more attempt counted.

        Raises:
            Forged, UnknownKey: as `receive`. The fault came before that was checked, and a signature would hide it.
        """
        return self._signed_again(envelope, structs.replace(envelope.headers, attempts=envelope.headers.attempts + 1))

    def described(self, error: BaseException) -> str:
        """The fault, for operators."""
        return summary(error, with_text=self.with_texts)

    def note_retry(self, envelope: Envelope, tries: int, reason: str, seconds: float) -> None:
        """Record for operators that the message is tried again in so many seconds; see `retries.note`.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached.
        """
        self.database.read(
            lambda connection: retries.note(connection, self.findable(envelope), tries, reason, seconds),
            timeout=1,
            fresh=True,
        )

    def timed_out_again(self, envelope: Envelope) -> Envelope:
        """The message to redeliver after an aborted transaction.

        Raises:
            Forged, UnknownKey: as `failed_again`.
        """
        return self._signed_again(envelope, structs.replace(envelope.headers, timeouts=envelope.headers.timeouts + 1))

    def give_up(self, envelope: Envelope, reason: Reason = Reason.FAULT, error: BaseException | None = None) -> None:
        """Record the message as a dead letter, for operators and for the caller who polls its outcome.

        Args:
            error: the last exception of the handler.

        Raises:
            Forged, UnknownKey: as `failed_again`. It must not end an operation, nor be replayed.
            DatabaseAway: PostgreSQL cannot be reached; retry later.
        """
        self.sealer.check(envelope)
        self.bury(dead_letters.of_fault(envelope, reason, error, with_text=self.with_texts))

    def bury(self, letter: DeadLetter) -> None:
        """Record a dead letter, and its operation as failed; only once, however often it is called.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached; retry later.
        """
        to_relay: list[str] = []
        letter = replace(letter, envelope=self.findable(letter.envelope))
        try:
            with UnitOfWork(self.database, message_id=letter.envelope.id) as unit:
                first = letter.has_operation and self._record_fault(unit.connection, letter)
                if first:
                    to_relay = self._release(unit, letter.envelope)
                if first or not letter.has_operation:
                    dead_letters.record(unit.connection, letter)
                else:
                    log.info("dead letter dropped: its message has an outcome already")
                retries.forget(unit.connection, letter.envelope)
                unit.commit()
        except Exception as error:
            if is_database_away(error):
                raise DatabaseAway(error) from None
            raise
        if first:
            name = letter.envelope.name
            metrics.message_ended(name, "dead")
            if handler := self.registry.by_name.get(name):
                observe_end(handler, letter.envelope, inbox.Status.FAILED)
        self.relay.publish_meanwhile(to_relay)

    def _signed_again(self, envelope: Envelope, headers: Headers) -> Envelope:
        self.sealer.check(envelope)
        return self.sealer.signed(replace(envelope, headers=headers))

    def _release(self, unit: UnitOfWork, envelope: Envelope) -> list[str]:
        """Let the context release what it had reserved. A failure there must not prevent the dead letter.

        An expired message releases nothing: it may be a copy of one that took effect.
        """
        handler = self.registry.by_name.get(envelope.name)
        if handler is None or handler.name not in self.registry.given_up:
            return []
        token = current_origin.set(origin_of(envelope.headers))
        try:
            message: object = self.codec.decode(handler.message, envelope)
            with unit.session.begin_nested():
                return self.handling.give_up(handler, message, unit)
        except Exception as error:
            if is_database_away(error):
                raise
            log.error("reservation not released", exc_info=error)  # noqa: TRY400 - formatted elsewhere
            return []
        finally:
            current_origin.reset(token)

    def _process(self, handler: Handler, message: object, envelope: Envelope) -> Handled:
        if handler.kind is Kind.HASHING and self._was_done(envelope):
            raise inbox.AlreadyDone
        claim = partial(inbox.claim, envelope=envelope)
        if handler.may is not None:
            claim = partial(self._claim_with_authority, envelope=envelope, handler=handler, message=message)
        with UnitOfWork(self.database, claim, envelope.id, envelope.headers.accepted_at) as unit:
            done = self.handling.run(handler, message, unit)
            if done.refusal is not None:
                self._fail(unit, envelope, done.refusal)
            write(unit.connection, [done])
            if goes_on(done.answer):
                done.messages.append(self._go_on(unit, envelope))
            else:
                inbox.notify_waiting(unit.connection, envelope)
            if _was_tried(envelope):
                retries.forget(unit.connection, envelope)
            unit.commit()
            return done

    def _claim_with_authority(
        self, connection: sa.Connection, envelope: Envelope, handler: Handler, message: object
    ) -> None:
        """Claim the message, if its actor still has the authority.

        Raises:
            Forbidden: the actor no longer is what the handler requires.
        """
        inbox.claim(connection, envelope)
        self.check_authority(connection, envelope, handler, message)

    def check_authority(self, connection: sa.Connection, envelope: Envelope, handler: Handler, message: object) -> None:
        """Check that the message's actor has the authority now, in the connection's transaction.

        Raises:
            Forbidden: the actor no longer is what the handler requires.
        """
        headers = envelope.headers
        actor = headers.replayed_by if headers.replay else headers.actor
        if headers.replay and actor is None:
            return  # an operator at the command line, who needs no account
        account = self.account_of(driver_of(connection), actor) if actor else None
        if account is None or not (handler.may and handler.may(message, account)):
            raise Forbidden

    def _was_done(self, envelope: Envelope) -> bool:
        """A check before slow work, which would hash again and count a failed attempt twice. The claim decides."""
        if envelope.headers.replay:
            return False
        outcome = self.database.read(lambda connection: inbox.outcome_of(connection, envelope.id), fresh=True)
        return outcome is not None

    def _go_on(self, unit: UnitOfWork, envelope: Envelope) -> tuple[str, Envelope]:
        """A step is done, the command is not: send the same message again, with its attempts reset."""
        inbox.release(unit.connection, envelope)
        aggregate = f"operation:{envelope.id}"
        again = self.sealer.signed(replace(envelope, headers=structs.replace(envelope.headers, attempts=0, timeouts=0)))
        outbox.write_again(unit.connection, aggregate, again)
        return aggregate, again

    def _fail(self, unit: UnitOfWork, envelope: Envelope, refusal: Refusal) -> None:
        problem = self.problem_of(refusal, envelope.headers.request_id)
        if refusal.keeps_effects:
            inbox.turn_into_failures(unit.connection, {envelope.id: problem})
        elif not inbox.record_failure(unit.connection, envelope, problem):
            raise inbox.AlreadyDone  # another delivery finished first

    def _record_fault(self, connection: sa.Connection, letter: DeadLetter) -> bool:
        """Record the failed operation; False if it had an outcome already."""
        envelope, fault = letter.envelope, InternalError(letter.detail)
        problem = self.problem_of(fault, envelope.headers.request_id)
        handler = self.registry.by_name.get(envelope.name)
        first = inbox.record_failure(connection, envelope, problem)
        if first and handler is not None and handler.audited:
            token = current_origin.set(origin_of(envelope.headers))
            audit.write(connection, handler.name, audit.subject(handler.message, envelope.body), fault.code())
            current_origin.reset(token)
        inbox.notify_waiting(connection, envelope)
        return first

    def _note_done_before(self, envelope: Envelope) -> None:
        log.info("message was processed before")
        if envelope.headers.waiting or envelope.headers.fingerprint or _was_tried(envelope):
            with self.database.transaction() as connection:
                inbox.record_reuse(connection, envelope)
                inbox.notify_waiting(connection, envelope)
                retries.forget(connection, envelope)


def origin_of(headers: Headers, traceparent: str | None = None) -> Origin:
    """The request and the user that caused a message.

    Args:
        traceparent: of the span in which it is processed; what it causes is below that one, not the request's.
    """
    trace = traceparent or headers.traceparent
    return Origin(headers.request_id, headers.actor, headers.ip, headers.user_agent, trace, headers.replayed_by)


def _was_tried(envelope: Envelope) -> bool:
    return envelope.taken is not None and envelope.taken.tries > 0


def in_its_trace(envelope: Envelope) -> AbstractContextManager[None]:
    """Process a message as part of its trace. The span is named as OpenTelemetry's conventions for messaging say."""
    attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": envelope.lane,
        "messaging.message.id": str(envelope.id),
    }
    return continued(envelope.headers.traceparent, f"process {envelope.name}", SpanKind.CONSUMER, attributes)


def observe_wait(envelope: Envelope) -> None:
    """Count for how long the message waited in its lane."""
    headers = envelope.headers
    if envelope.taken and headers.accepted_at and not headers.attempts and not headers.replay:
        waited = envelope.taken.at - datetime.fromisoformat(headers.accepted_at)
        metrics.message_taken(envelope.lane, waited.total_seconds())


def observe_end(handler: Handler, envelope: Envelope, status: inbox.Status) -> None:
    """Count the end of a command."""
    if issubclass(handler.message, Command) and envelope.headers.accepted_at:
        took = datetime.now(UTC) - datetime.fromisoformat(envelope.headers.accepted_at)
        metrics.command_ended(handler.name, status, took.total_seconds())


def log_end(handler: Handler, message: object, refusal: Refusal | None) -> None:
    """Log the outcome; of what is audited also whom it concerned, for the day when the audit log is lost."""
    about = {"about": audit.subject(handler.message, vars(message))} if handler.audited else {}
    log.info("message refused" if refusal else "message processed", outcome=outcome_of(refusal), **about)
