"""Runs a handler in one unit of work, with its events and its entry in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from backend.kernel.delivery import outbox, timers
from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.inbox import Status
from backend.kernel.delivery.timers import Timer
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Progress
from backend.kernel.messages.refusals import Refusal
from backend.kernel.messages.registry import Handler, Kind, Registry
from backend.kernel.observe import audit
from backend.kernel.postgres.faults import away, is_conflict, is_database_away

T = TypeVar("T")

OpenPorts = Callable[[UnitOfWork], Any]
_CONFLICT_TRIES = 5


class Handled(NamedTuple):
    """The result of a handler.

    Attributes:
        answer: what the handler returned.
        refusal: why the domain refused; None if it did not.
        messages: what it has to publish, each under its aggregate.
        timers: what it has to send later.
        entry: its entry in the audit log, if it has one.
    """

    answer: Any
    refusal: Refusal | None
    messages: list[tuple[str, Envelope]]
    timers: list[Timer]
    entry: audit.Row | None = None

    @property
    def to_relay(self) -> list[str]:
        """The aggregates of its messages."""
        return [aggregate for aggregate, _ in self.messages]


@dataclass(frozen=True)
class Handling:
    """Calls handlers. Nothing here commits: the caller that opened the unit of work does.

    Attributes:
        open_ports: by context: opens the handlers' ports for a unit of work.
    """

    registry: Registry
    open_ports: Mapping[str, OpenPorts]
    codec: Codec

    def handle(self, handler: Handler, message: object, unit: UnitOfWork) -> Handled:
        """Call the handler as `run` does, and write what it has to publish."""
        done = self.run(handler, message, unit)
        if done.messages or done.timers or done.entry:
            write(unit.connection, [done])
        return done

    def run(self, handler: Handler, message: object, unit: UnitOfWork) -> Handled:
        """Call the handler, and the subscribers in its transaction. `write` has to follow, in the same transaction.

        A refusal undoes what was written before it, unless it keeps its effects.
        """
        answer, refusal = None, None
        try:
            if handler.kind is Kind.CALLS:
                unit.rehearse()  # what was done, cancelled, or is no longer allowed calls nobody
            answer = handler.function(message, self.open_ports[handler.context](unit))
            if handler.may is not None:
                unit.open()  # the actor's authority is checked then, even if the handler wrote nothing
            events = self._events_of(unit)
        except Refusal as error:
            refusal = error
            if not error.keeps_effects:
                unit.roll_back()
            events = self._events_of(unit)
        entry = None
        if handler.audited and not goes_on(answer):
            about = unit.about or audit.subject(handler.message, vars(message))
            entry = audit.row_of(handler.name, about, outcome_of(refusal), unit.detail, unit.reason)
        return Handled(answer, refusal, *self._to_send(events, unit), entry)

    def give_up(self, handler: Handler, message: object, unit: UnitOfWork) -> list[str]:
        """Call the context's function for a message that is given up; returns the aggregates to relay."""
        self.registry.given_up[handler.name](message, self.open_ports[handler.context](unit))
        done = Handled(None, None, *self._to_send(self._events_of(unit), unit))
        write(unit.connection, [done])
        return done.to_relay

    def _events_of(self, unit: UnitOfWork) -> list[Event]:
        """The unit's events, after every subscriber in the transaction has processed them."""
        events: list[Event] = []
        while new := unit.pull_events():
            events += new
            for event in new:
                for context, react in self.registry.within(type(event)):
                    react(event, self.open_ports[context](unit))
        return events

    def _to_send(self, events: list[Event], unit: UnitOfWork) -> tuple[list[tuple[str, Envelope]], list[Timer]]:
        now = datetime.now(UTC)
        due = [(command, now + delay) for command, delay in unit.pull_later()]
        return (
            [(event.subject, envelope) for event in events for envelope in self.codec.of_event(event, unit.message_id)],
            [Timer(at, self.codec.of_timer(command, at)) for command, at in due],
        )


def write(connection: sa.Connection, done: Sequence[Handled]) -> None:
    """Write what these messages have to publish, and their entries in the audit log."""
    if entries := [one.entry for one in done if one.entry]:
        audit.write_all(connection, entries)
    if messages := [message for one in done for message in one.messages]:
        outbox.write(connection, messages)
    if wanted := [timer for one in done for timer in one.timers]:
        timers.write(connection, wanted)


def goes_on(answer: object) -> bool:
    """Whether this was a step of a command, but not the last one."""
    return isinstance(answer, Progress) and answer.done < answer.total


def outcome_of(refusal: Refusal | None) -> str:
    """The outcome of a message, as logs and audit entries name it."""
    return refusal.code() if refusal else Status.SUCCEEDED


def through_conflicts(attempt: Callable[[], T]) -> T:
    """Retry at once, a few times, while PostgreSQL aborts this transaction for another one.

    Raises:
        DatabaseAway: PostgreSQL cannot be reached, was too slow, or aborted every try.
        Exception: what else `attempt` raises.
    """
    for tries in range(1, _CONFLICT_TRIES + 1):
        try:
            return attempt()
        except Exception as error:
            if is_conflict(error) and tries < _CONFLICT_TRIES:
                continue
            if is_database_away(error):
                raise away(error) from None
            raise
    raise AssertionError("unreachable")
