"""The registry: which function processes which message, under which name, in which lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import time, timedelta
from enum import StrEnum
from functools import cached_property
from inspect import signature
from operator import attrgetter
from typing import Any, Generic, TypeVar

from backend.kernel.messages.authority import May
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command, SyncCommand
from backend.kernel.messages.schedule import Schedule

Ports = TypeVar("Ports")
M = TypeVar("M")
R = TypeVar("R")


class Kind(StrEnum):
    """A kind of work, which must not wait behind another kind. Each context has a lane per kind, and a second one for
    anonymous messages.
    """

    COMMANDS = "commands"  # short transactions
    HASHING = "hashing"  # saturates a core
    EVENTS = "events"  # subscribers
    MAIL = "mail"  # waits for a mail server
    CALLS = "calls"  # asks another service before its own transaction
    CODES = "codes"  # mail that a user waits for at a sign-in
    MAINTENANCE = "maintenance"  # scheduled housekeeping; one lane for all contexts


@dataclass(frozen=True)
class Handler:
    """A function that processes one message.

    Attributes:
        name: `<context>.<function>`, its name in messages and in Flower.
        attempts: tries before a fault, other than an absent database, dead-letters the message.
        audited: whether the audit log records it.
        spreads: whether every API process must know its effect before its outcome is returned.
        may: what its actor must be when the message is processed; None: anybody whom the API accepted.
        limit: seconds that one delivery may take (on RabbitMQ with the prefork pool); then it counts as failed.
        backoff: seconds before the second attempt, the third, and so on; the last one repeats. Jitter is added.
        anonymous: whether callers may send it without signing in. Its messages wait in a bounded lane of their own:
            a flood of them does not delay signed-in callers.
        alone: whether each message has a transaction of its own, see `batched`.
    """

    name: str
    context: str
    kind: Kind
    message: type
    function: Callable[[Any, Any], Any]
    attempts: int
    audited: bool = False
    spreads: bool = False
    may: May | None = None
    limit: int = 60
    backoff: tuple[float, ...] = (2, 4, 8, 16, 32, 64, 128, 256, 300)
    anonymous: bool = False
    schedule: Schedule | None = None
    alone: bool = False

    def __post_init__(self) -> None:
        """Check what would otherwise fail with the first message.

        Raises:
            TypeError: the function does not take a message and its ports.
            ValueError: there is no attempt, no time for one, or no pause between two.
        """
        try:
            signature(self.function).bind(None, None)
        except TypeError:
            raise TypeError(f"{self.name} must take a message and its ports") from None
        if self.attempts < 1 or self.limit < 1 or not self.backoff:
            raise ValueError(f"{self.name} needs at least one attempt, one second and one pause")

    @property
    def batched(self) -> bool:
        """Whether messages that wait together may be processed in one transaction. Never where the work is slow, or
        has effects outside the database.
        """
        return not self.alone and self.kind in (Kind.COMMANDS, Kind.EVENTS)

    @cached_property
    def lane(self) -> str:
        """The queue of its messages."""
        return f"{self.context}.{self.kind}" + (".anonymous" if self.anonymous else "")

    def pause_after(self, attempts: int) -> float:
        """Seconds until the next attempt."""
        return self.backoff[min(attempts, len(self.backoff)) - 1]


class Handlers(Generic[Ports]):
    """One context's handlers.

    A command or synchronous command has one handler in the whole program; an event may have
    one in each context.

    Args:
        audited: the audit log records its commands and synchronous commands, not its events.
    """

    def __init__(self, context: str, *, audited: bool = False) -> None:
        self.context = context
        self._audited = audited
        self._handlers: dict[type, Handler] = {}
        self.within_transaction: dict[type[Event], Callable[[Any, Any], None]] = {}
        """A subscriber in the transaction of the event."""
        self.given_up: dict[type, Callable[[Any, Any], None]] = {}
        """A function for a message that is dead-lettered."""

    def on(  # noqa: PLR0913 - what may be said of a handler
        self,
        message: type[M],
        *,
        kind: Kind | None = None,
        attempts: int = 8,
        spreads: bool = False,
        may: May | None = None,
        limit: int = Handler.limit,
        backoff: tuple[float, ...] = Handler.backoff,
        anonymous: bool = False,
        name: str = "",
        every: timedelta | None = None,
        at: time | None = None,
        alone: bool = False,
    ) -> Callable[[Callable[[M, Ports], R]], Callable[[M, Ports], R]]:
        """Register the decorated function for `message`.

        Args:
            kind: of work; by default `events` for an event, `commands` for the rest.
            attempts, spreads, may, limit, backoff, anonymous, alone: see `Handler`.
            name: the wire name, if it is not `<context>.<function>`.
            every, at: run it on schedule, at this interval or at this time of the day (UTC); see `Schedule`. The
                command has no field without a default.
        """
        if kind is None:
            kind = Kind.EVENTS if issubclass(message, Event) else Kind.COMMANDS

        def register(function: Callable[[M, Ports], R]) -> Callable[[M, Ports], R]:
            if message in self._handlers:
                raise ValueError(f"{message.__name__} has two handlers in {self.context}")
            audited = self._audited and issubclass(message, Command | SyncCommand)
            self._handlers[message] = Handler(
                name or f"{self.context}.{function.__name__}",
                self.context,
                kind,
                message,
                function,
                attempts,
                audited,
                spreads,
                may,
                limit,
                backoff,
                anonymous,
                _schedule_of(message, every, at, may),
                alone,
            )
            return function

        return register

    def on_given_up(self, message: type[M]) -> Callable[[Callable[[M, Ports], None]], Callable[[M, Ports], None]]:
        """Register the decorated function for a `message` that is given up, to release what was reserved for it.

        It is called once, in the transaction that records the dead letter, whatever was tried before. A replay
        of the dead letter calls the handler again.
        """

        def register(function: Callable[[M, Ports], None]) -> Callable[[M, Ports], None]:
            if message in self.given_up:
                raise ValueError(f"{message.__name__} has two functions for when it is given up in {self.context}")
            self.given_up[message] = function
            return function

        return register

    def within(self, event: type[M]) -> Callable[[Callable[[M, Ports], None]], Callable[[M, Ports], None]]:
        """Register the decorated function for `event`, to be called in the transaction of the event.

        For what must not happen later than the change itself. Whatever it raises undoes the change.
        """

        def register(function: Callable[[M, Ports], None]) -> Callable[[M, Ports], None]:
            if not issubclass(event, Event):
                raise TypeError(f"{event.__name__} is not an event")
            if event in self.within_transaction:
                raise ValueError(f"{event.__name__} has two functions in its transaction in {self.context}")
            self.within_transaction[event] = function
            return function

        return register

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())

    def queued(self) -> Iterator[Handler]:
        """The handlers that workers run: those of commands and events, not of synchronous commands."""
        return (handler for handler in self if not issubclass(handler.message, SyncCommand))


def _schedule_of(message: type, every: timedelta | None, at: time | None, may: May | None) -> Schedule | None:
    if every is None and at is None:
        return None
    if may is not None or not issubclass(message, Command):
        raise TypeError(f"{message.__name__} cannot run on schedule: it is no command, or it demands an actor")
    message()  # raises TypeError if a field has no default
    return Schedule(**{name: given for name, given in (("every", every), ("at", at)) if given is not None})  # type: ignore[arg-type]


class Unhandled(Exception):
    """No context of this program handles that message."""


class _ByMessage(dict[type, Handler]):
    """The handler of each command."""

    def __missing__(self, message: type) -> Handler:
        raise Unhandled(f"no handler is registered for {message.__name__}")


class Registry:
    """Every handler of a program.

    Attributes:
        by_name: every handler, by wire name.
        handlers: the handler of each command and synchronous command. A lookup raises Unhandled if there is none.
        given_up: the functions for messages that are given up, by the wire name of their handler.
    """

    def __init__(self, contexts: Iterable[Handlers[Any]]) -> None:
        self.by_name: dict[str, Handler] = {}
        self.handlers = _ByMessage()
        self._subscribers: dict[str, list[Handler]] = {}
        self._within: dict[type, list[tuple[str, Callable[[Any, Any], None]]]] = {}
        self.given_up: dict[str, Callable[[Any, Any], None]] = {}
        for handlers in contexts:
            self._include(handlers)

    def _include(self, handlers: Handlers[Any]) -> None:
        if unhandled := handlers.given_up.keys() - {handler.message for handler in handlers}:
            names = ", ".join(sorted(message.__name__ for message in unhandled))
            raise ValueError(f"{handlers.context} releases what was reserved for {names}, but has no handler for it")
        for handler in handlers:
            message = handler.message
            if handler.name in self.by_name:
                raise ValueError(f"two handlers are named {handler.name}")
            self.by_name[handler.name] = handler
            if message in handlers.given_up:
                self.given_up[handler.name] = handlers.given_up[message]
            if issubclass(message, Event):
                self._subscribers.setdefault(message.routing_key(), []).append(handler)
            elif message in self.handlers:
                raise ValueError(f"{message.__name__} has two handlers: {self.handlers[message].name}, {handler.name}")
            else:
                self.handlers[message] = handler
        for event, function in handlers.within_transaction.items():
            self._within.setdefault(event, []).append((handlers.context, function))

    def subscribers(self, routing_key: str) -> Iterable[Handler]:
        """The handlers that get a message of their own for an event of that name."""
        return self._subscribers.get(routing_key, ())

    def within(self, event: type) -> Iterable[tuple[str, Callable[[Any, Any], None]]]:
        """The subscribers in the event's transaction, each with the name of its context."""
        return self._within.get(event, ())

    def queued(self) -> dict[str, Handler]:
        """What workers run, by wire name: tasks, lanes and routes are derived from it."""
        return {name: one for name, one in self.by_name.items() if not issubclass(one.message, SyncCommand)}

    def lanes(self) -> dict[str, Handler]:
        """The lanes of all handlers, each with a handler of it."""
        return {handler.lane: handler for handler in sorted(self.queued().values(), key=attrgetter("lane"))}

    def every_lane(self) -> list[str]:
        """The lanes of all handlers, and that of scheduled housekeeping."""
        return [*self.lanes(), Kind.MAINTENANCE.value]
