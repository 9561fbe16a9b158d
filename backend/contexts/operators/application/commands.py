"""Commands of the operators context."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.kernel.messages.message import SyncCommand

MOST_AT_ONCE = 1000
"""The most dead letters that one command replays."""


@dataclass(frozen=True)
class Group:
    """Open dead letters with the given task, reason and error; None matches any."""

    task: str | None = None
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Replayed:
    """The result of replaying a group.

    Attributes:
        remaining: those still open, beyond `MOST_AT_ONCE` or not replayable.
    """

    replayed: int
    remaining: int


@dataclass(frozen=True)
class ReplayDeadLetter(SyncCommand[None]):
    """Deliver the message again, even if it was replayed or discarded before."""

    dead_letter_id: UUID


@dataclass(frozen=True)
class ReplayGroup(SyncCommand[Replayed]):
    """Deliver the open messages of a group again, the oldest first."""

    group: Group


@dataclass(frozen=True)
class DiscardDeadLetter(SyncCommand[None]):
    """Settle an open dead letter without a replay."""

    dead_letter_id: UUID
    reason: str


@dataclass(frozen=True)
class DiscardGroup(SyncCommand[int]):
    """Settle the open dead letters of a group without a replay; the answer is their number."""

    group: Group
    reason: str


@dataclass(frozen=True)
class PauseLane(SyncCommand[None]):
    """Pause a lane: no worker starts a message of it until it is resumed."""

    lane: str
    reason: str


@dataclass(frozen=True)
class PauseCommand(SyncCommand[None]):
    """Pause one kind of message: it waits, and the rest of its lane goes on."""

    name: str
    reason: str


@dataclass(frozen=True)
class ResumeCommand(SyncCommand[None]):
    """Resume it."""

    name: str


@dataclass(frozen=True)
class ResumeLane(SyncCommand[None]):
    """Resume a lane."""

    lane: str
