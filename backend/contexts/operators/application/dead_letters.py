"""What operators do about messages that nobody could carry out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from backend.kernel.messages.message import SyncCommand
from backend.kernel.messages.refusals import Conflict, NotFound
from backend.kernel.messages.registry import Handlers

MOST_AT_ONCE = 1000
"""Dead letters that one order replays at most."""


class DeadLetterNotFound(NotFound):
    """There is no such dead letter; they are kept for 14 days."""


class NotReplayable(Conflict):
    """No handler has this task's name, or nobody can read the message: it would only die again."""


class DeadLetterSettled(Conflict):
    """The dead letter was replayed or discarded before."""


@dataclass(frozen=True)
class Group:
    """Open dead letters that have something in common; what is None is not asked for."""

    task: str | None = None
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Replayed:
    """What became of the order to replay a group.

    Attributes:
        remaining: open ones of the group, beyond `MOST_AT_ONCE` or not replayable.
    """

    replayed: int
    remaining: int


@dataclass(frozen=True)
class ReplayDeadLetter(SyncCommand[None]):
    """Deliver the message once more, also one that was replayed or discarded before."""

    dead_letter_id: UUID


@dataclass(frozen=True)
class ReplayGroup(SyncCommand[Replayed]):
    """Deliver the open messages of a group once more, the oldest first."""

    group: Group


@dataclass(frozen=True)
class DiscardDeadLetter(SyncCommand[None]):
    """Settle an open dead letter without another try."""

    dead_letter_id: UUID
    reason: str


class DeadLetters(Protocol):
    """The dead letters there are."""

    def replay(self, dead_letter_id: UUID) -> None:
        """Send the message again once the transaction commits.

        Raises:
            DeadLetterNotFound: there is none.
            NotReplayable: sending it again is no use.
        """

    def replay_group(self, group: Group, limit: int) -> Replayed:
        """Send up to `limit` open messages of the group again."""

    def discard(self, dead_letter_id: UUID, reason: str) -> None:
        """Settle it, and note why.

        Raises:
            DeadLetterNotFound: there is none.
            DeadLetterSettled: it is not open.
        """


@dataclass(frozen=True)
class DeadLettersPorts:
    """What these handlers may reach, opened for one transaction."""

    dead_letters: DeadLetters


handlers = Handlers[DeadLettersPorts]("dead_letters", audited=True)


@handlers.on(ReplayDeadLetter)
def replay(command: ReplayDeadLetter, ports: DeadLettersPorts) -> None:
    """Once in effect, however often it is ordered: the inbox knows the message."""
    ports.dead_letters.replay(command.dead_letter_id)


@handlers.on(ReplayGroup)
def replay_group(command: ReplayGroup, ports: DeadLettersPorts) -> Replayed:
    """All of a group that one order may replay."""
    return ports.dead_letters.replay_group(command.group, MOST_AT_ONCE)


@handlers.on(DiscardDeadLetter)
def discard(command: DiscardDeadLetter, ports: DeadLettersPorts) -> None:
    """The operation stays failed."""
    ports.dead_letters.discard(command.dead_letter_id, command.reason)
