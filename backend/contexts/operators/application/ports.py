"""What the operators' handlers need of the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from backend.contexts.operators.application.commands import Group, Replayed


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
