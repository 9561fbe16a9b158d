"""Refusals of the operators context."""

from __future__ import annotations

from backend.kernel.messages.refusals import Conflict, NotFound


class DeadLetterNotFound(NotFound):
    """The dead letter does not exist. Dead letters are kept for 14 days."""


class NotReplayable(Conflict):
    """No handler has this task's name, or the message cannot be decoded. A replay would fail again."""


class DeadLetterSettled(Conflict):
    """The dead letter was already replayed or discarded."""


class LaneNotFound(NotFound):
    """The lane does not exist."""


class CommandNotFound(NotFound):
    """No worker runs a command or subscriber with this name."""
