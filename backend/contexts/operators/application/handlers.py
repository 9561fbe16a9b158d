"""Handlers of the operators context."""

from __future__ import annotations

from backend.contexts.operators.application.commands import (
    MOST_AT_ONCE,
    DiscardDeadLetter,
    ReplayDeadLetter,
    Replayed,
    ReplayGroup,
)
from backend.contexts.operators.application.ports import DeadLettersPorts
from backend.kernel.messages.registry import Handlers

handlers = Handlers[DeadLettersPorts]("dead_letters", audited=True)


@handlers.on(ReplayDeadLetter)
def replay(command: ReplayDeadLetter, ports: DeadLettersPorts) -> None:
    """However often it is replayed, it takes effect once: the inbox knows the message."""
    ports.dead_letters.replay(command.dead_letter_id)


@handlers.on(ReplayGroup)
def replay_group(command: ReplayGroup, ports: DeadLettersPorts) -> Replayed:
    """Replay as many of the group as one command may."""
    return ports.dead_letters.replay_group(command.group, MOST_AT_ONCE)


@handlers.on(DiscardDeadLetter)
def discard(command: DiscardDeadLetter, ports: DeadLettersPorts) -> None:
    """The operation stays failed."""
    ports.dead_letters.discard(command.dead_letter_id, command.reason)
