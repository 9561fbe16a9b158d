"""The ways an operator's order is refused."""

from __future__ import annotations

from backend.kernel.messages.refusals import Conflict, NotFound


class DeadLetterNotFound(NotFound):
    """There is no such dead letter; they are kept for 14 days."""


class NotReplayable(Conflict):
    """No handler has this task's name, or nobody can read the message: it would only die again."""


class DeadLetterSettled(Conflict):
    """The dead letter was replayed or discarded before."""
