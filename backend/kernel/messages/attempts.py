"""Attempts to prove who one is: a context offers the limit on them, others count theirs there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID


class Attempts(Protocol):
    """The limit on guessing somebody's password. The address that guesses is in the current context.

    Every method but `succeeded` raises TooManyAttempts: there were too many lately, the right password is refused
    as well.
    """

    def turn(self, user_id: UUID) -> AbstractContextManager[None]:
        """A turn among all who have a password checked by this process now, for the time inside.

        Raises:
            Busy: too many wait already.
        """

    def reserve(self, user_id: UUID) -> None:
        """Count one attempt as failed before it is made, at once, in a transaction of its own."""

    def succeeded(self, user_id: UUID) -> None:
        """The attempt was right after all: take back what `reserve` counted, at once, like `reserve`."""
