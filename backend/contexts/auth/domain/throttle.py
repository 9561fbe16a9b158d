"""How many failures are allowed, and how long attempts are refused after too many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from backend.kernel.messages.refusals import TooManyAttempts

WINDOW = timedelta(minutes=5)
LONGEST_BLOCK = timedelta(minutes=15)
QUIET = timedelta(hours=1)
"""After this long without a failure, earlier blocks are forgotten."""

PER_ACCOUNT_AND_NETWORK = 5
PER_ACCOUNT = 50
PER_NETWORK = 20


@dataclass(frozen=True)
class Failures:
    """The recent failures of an account, from a network, or of an account from a network.

    Attributes:
        times: in order, within the window.
        blocks: how often the limit was reached before. Each one makes the next block longer.
    """

    times: tuple[datetime, ...] = ()
    blocks: int = 0

    def plus(self, now: datetime, limit: int, *, refusing: bool = True) -> Failures:
        """Add a failure.

        Refused attempts are not counted, so that an attacker who keeps trying cannot lock the owner out for ever.

        Args:
            refusing: False: count the failure, but do not refuse it.

        Raises:
            TooManyAttempts: the limit is reached, and the block has not ended.
        """
        if not self.times or now - self.times[-1] > QUIET:
            return Failures((now,))
        if len(self.times) >= limit:
            block = min(WINDOW * (self.blocks + 1), LONGEST_BLOCK)
            left = self.times[-1] + block - now
            if left <= timedelta():
                return Failures((now,), self.blocks + 1)
            if refusing:
                raise TooManyAttempts(ceil(left.total_seconds()))
        recent = [time for time in self.times if now - time < WINDOW]
        return Failures((*recent[-limit:], now), self.blocks)

    def minus_one(self) -> Failures:
        """Take back the last failure: the attempt was correct."""
        return Failures(self.times[:-1], self.blocks)
