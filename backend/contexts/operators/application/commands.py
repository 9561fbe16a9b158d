"""What operators may order."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.kernel.messages.message import SyncCommand

MOST_AT_ONCE = 1000
"""Dead letters that one order replays at most."""


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
