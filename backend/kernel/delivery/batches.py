"""The worker's side of the bus for messages that wait together: one transaction, one commit and one relay for them all.

Guarantee: each message has the effects, the outcome and the traces that it has alone, or none. Whatever goes wrong
undoes the whole batch, and each of its messages is then received alone, which decides what a fault means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from time import perf_counter
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from backend.kernel.delivery import inbox
from backend.kernel.delivery.batch_unit import BatchSession, BatchUnit, NotAtOnce
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.handling import Handled, goes_on, write
from backend.kernel.delivery.receive import (
    AccountOf,
    Receiver,
    in_its_trace,
    log_end,
    observe_end,
    observe_wait,
    origin_of,
)
from backend.kernel.messages.authority import Account
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.registry import Handler
from backend.kernel.observe import audit, metrics
from backend.kernel.observe.logging import bind_request, bound, bound_values, end_request
from backend.kernel.observe.tracing import current_traceparent
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.statements import run

# A batch that waits for a lock holds others. It ends before PostgreSQL looks for a deadlock (after a second).
_BRIEFLY = "select set_config('lock_timeout', '500ms', true)"
_NOBODY = UUID(int=0)

log = structlog.get_logger(__name__)


class _Member(NamedTuple):
    envelope: Envelope
    handler: Handler
    message: object

    @property
    def subject(self) -> UUID:
        return audit.subject(self.handler.message, vars(self.message)) or _NOBODY


class _Done(NamedTuple):
    member: _Member
    handled: Handled
    log_values: Mapping[str, Any]


@dataclass(frozen=True)
class BatchReceiver:
    """Processes batches for a receiver."""

    receiver: Receiver

    def receive(self, envelopes: Sequence[Envelope]) -> set[UUID]:
        """Process messages in one transaction; returns the ids of those that are done, perhaps of none.

        The others are as they were: receive each alone.

        Args:
            envelopes: messages of `batched` handlers, delivered for the first time. No replays.
        """
        copies = Counter(envelope.id for envelope in envelopes)  # one claim in a batch would stand for each copy
        unique = (envelope for envelope in envelopes if copies[envelope.id] == 1)
        members = [member for envelope in unique if (member := self._member(envelope))]
        if len(members) < 2:  # noqa: PLR2004 - one is no batch
            return set()
        started = perf_counter()
        try:
            batch = self._processed(members)
        except Exception as error:  # noqa: BLE001 - whatever it is: alone, each message meets its own fault again
            end_request()
            log.info("batch undone", messages=len(members), reason=self.receiver.described(error))
            return set()
        seconds = (perf_counter() - started) / max(len(batch), 1)
        for done in batch:
            _tell(done, seconds)
        end_request()
        self.receiver.relay.publish_meanwhile([aggregate for done in batch for aggregate in done.handled.to_relay])
        return {done.member.envelope.id for done in batch}

    def _member(self, envelope: Envelope) -> _Member | None:
        """The message, decoded; None if that fails, or if operators have paused its kind."""
        handler = self.receiver.registry.by_name.get(envelope.name)
        if handler is None:
            return None
        try:
            self.receiver.check_pause(handler.name)
            message: object = self.receiver.codec.decode(handler.message, envelope)
        except Exception:  # noqa: BLE001 - received alone, it raises again
            return None
        return _Member(self.receiver.findable(envelope), handler, message)

    def _processed(self, members: Sequence[_Member]) -> list[_Done]:
        with self.receiver.database.transaction() as connection:
            run(connection, _BRIEFLY, {})
            claimed = inbox.claim_all(connection, [member.envelope for member in members])
            # Rows are locked in one order by every batch, and each subject's messages keep theirs.
            in_turn = sorted(
                (member for member in members if member.envelope.id in claimed), key=lambda member: member.subject
            )
            with BatchSession(connection, {member.subject for member in in_turn}) as session:
                receiver = replace(self.receiver, account_of=_accounts(self.receiver.account_of, session))
                batch = [_handled(receiver, session, member) for member in in_turn]
                session.flush()
            if problems := {
                done.member.envelope.id: self.receiver.problem_of(refusal, done.member.envelope.headers.request_id)
                for done in batch
                if (refusal := done.handled.refusal)
            }:
                inbox.turn_into_failures(connection, problems)
            write(connection, [done.handled for done in batch])
            inbox.notify_waiting(connection, *(done.member.envelope for done in batch))
        return batch


def _accounts(account_of: AccountOf, session: BatchSession) -> AccountOf:
    """Look up an actor once in a transaction; each time, after all changes so far, if a message is about that user: it
    may take the authority away.
    """
    known = cache(account_of)

    def account(connection: ReadConnection, user_id: UUID) -> Account | None:
        if user_id not in session.subjects:
            return known(connection, user_id)
        session.flush()
        return account_of(connection, user_id)

    return account


def _handled(receiver: Receiver, session: BatchSession, member: _Member) -> _Done:
    envelope, handler, message = member
    headers, first = envelope.headers, None
    if handler.may is not None:
        first = partial(receiver.check_authority, envelope=envelope, handler=handler, message=message)
    bind_request(headers.request_id, task=handler.name, operation_id=str(envelope.id))
    with in_its_trace(envelope):
        token = current_origin.set(origin_of(headers, current_traceparent()))
        try:
            with BatchUnit(receiver.database, session, first, envelope.id, headers.accepted_at) as unit:
                handled = receiver.handling.run(handler, message, unit)
                if goes_on(handled.answer):
                    raise NotAtOnce
                unit.commit()
                return _Done(member, handled, bound_values())
        finally:
            current_origin.reset(token)


def _tell(done: _Done, seconds: float) -> None:
    """Log and count, as for a message alone."""
    (envelope, handler, message), handled = done.member, done.handled
    refusal = handled.refusal
    metrics.message_ended(handler.name, "refused" if refusal else "succeeded", seconds)
    observe_end(handler, envelope, inbox.Status.FAILED if refusal else inbox.Status.SUCCEEDED)
    observe_wait(envelope)
    with bound(**done.log_values):
        log_end(handler, message, refusal)
