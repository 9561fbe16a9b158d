"""A server that a handler needs is away: its message waits."""

from __future__ import annotations

from typing import ClassVar


class Away(Exception):
    """A server that a handler needs is away, or does not take its request now.

    The message is not at fault: it is redelivered, and no attempt is counted, until the server is back or the handler
    has no use for it any more. The text is shown to operators and contains no values.

    Attributes:
        longest_pause: the most seconds between two tries, and so until work continues when the server is back.
        logged: whether an outage is logged once for all messages; if not, each message is logged at its first wait.
    """

    longest_pause: float = 60
    logged: ClassVar[bool] = True
