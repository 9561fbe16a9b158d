"""The registry: which function carries out which message, under which name, in which lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command, SyncCommand

Ports = TypeVar("Ports")
M = TypeVar("M")
R = TypeVar("R")


class Lane(StrEnum):
    """A kind of work that must not wait behind another kind. Each context has its own queue per lane."""

    COMMANDS = "commands"
    HASHING = "hashing"
    EVENTS = "events"
    MAIL = "mail"
    CODES = "codes"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True)
class Handler:
    """A function that carries out one message.

    Attributes:
        name: `<context>.<function>`, its identity on the wire and in Flower.
        attempts: tries before a fault that is not the database's absence ends in a dead letter.
        audited: whether who had it done, and how it ended, goes into the audit log.
        revokes: whether it may end sessions. Its outcome is told once every API process knows of that.
    """

    name: str
    context: str
    lane: Lane
    message: type
    function: Callable[[Any, Any], Any]
    attempts: int
    audited: bool = False
    revokes: bool = False

    @property
    def queue(self) -> str:
        return f"{self.context}.{self.lane}"


class Handlers(Generic[Ports]):
    """One context's handlers.

    A command or synchronous command has one handler in the whole program; an event may have
    one in each context.

    Args:
        audited: its commands and synchronous commands, not its events, go into the audit log.
    """

    def __init__(self, context: str, *, audited: bool = False) -> None:
        self.context = context
        self._audited = audited
        self._handlers: dict[type, Handler] = {}

    def on(
        self, message: type[M], *, lane: Lane | None = None, attempts: int = 8, revokes: bool = False
    ) -> Callable[[Callable[[M, Ports], R]], Callable[[M, Ports], R]]:
        """Register the decorated function for `message`.

        Args:
            lane: where it queues; by default `events` for an event and `commands` for the rest.
            attempts, revokes: see `Handler`.
        """
        if lane is None:
            lane = Lane.EVENTS if issubclass(message, Event) else Lane.COMMANDS

        def register(function: Callable[[M, Ports], R]) -> Callable[[M, Ports], R]:
            name = f"{self.context}.{function.__name__}"
            if message in self._handlers:
                raise ValueError(f"{message.__name__} has two handlers in {self.context}")
            audited = self._audited and issubclass(message, Command | SyncCommand)
            self._handlers[message] = Handler(name, self.context, lane, message, function, attempts, audited, revokes)
            return function

        return register

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())

    def queued(self) -> Iterator[Handler]:
        """Those that workers carry out: of commands and events, not of synchronous commands."""
        return (handler for handler in self if not issubclass(handler.message, SyncCommand))
