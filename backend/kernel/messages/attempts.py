"""Attempts with a password: one context offers the limit, others count their attempts there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID


class Attempts(Protocol):
    """The limit on guessing a password. The caller's address is in the current origin.

    Every method but `succeeded` raises TooManyAttempts: there were too many recently. The correct password is refused
    as well.
    """

    def turn(self, user_id: UUID) -> AbstractContextManager[None]:
        """Wait for a turn to have a password checked by this process; it lasts for the `with` block.

        Raises:
            Busy: too many requests wait already.
        """

    def reserve(self, user_id: UUID) -> None:
        """Count an attempt as failed before it is made, in a transaction of its own."""

    def succeeded(self, user_id: UUID) -> None:
        """The attempt was correct: take back what `reserve` counted, in a transaction of its own."""
