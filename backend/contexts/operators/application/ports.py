"""Ports of the operators context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from backend.contexts.operators.application.commands import Group, Replayed


class DeadLetters(Protocol):
    """The stored dead letters."""

    def replay(self, dead_letter_id: UUID) -> None:
        """Send the message again once the transaction commits.

        Raises:
            DeadLetterNotFound: it does not exist.
            NotReplayable: it would fail again.
        """

    def replay_group(self, group: Group, limit: int) -> Replayed:
        """Send up to `limit` open messages of the group again."""

    def discard(self, dead_letter_id: UUID, reason: str) -> None:
        """Settle it, and record why.

        Raises:
            DeadLetterNotFound: it does not exist.
            DeadLetterSettled: it is not open.
        """

    def discard_group(self, group: Group, reason: str) -> int:
        """Settle the open dead letters of a group, and record why; returns their number."""


class Lanes(Protocol):
    """The lanes of the program."""

    def pause(self, lane: str, reason: str) -> None:
        """Pause a lane, or give a paused one another reason.

        Raises:
            LaneNotFound: no handler has this lane.
        """

    def resume(self, lane: str) -> None:
        """End the pause, if there is one.

        Raises:
            LaneNotFound: no handler has this lane.
        """

    def pause_command(self, name: str, reason: str) -> None:
        """Pause one kind of message, or give a paused one another reason.

        Raises:
            CommandNotFound: no worker runs it.
        """

    def resume_command(self, name: str) -> None:
        """End the pause, if there is one.

        Raises:
            CommandNotFound: no worker runs it.
        """


@dataclass(frozen=True)
class OperatorsPorts:
    """The ports of these handlers, opened for one transaction."""

    dead_letters: DeadLetters
    lanes: Lanes
