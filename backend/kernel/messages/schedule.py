"""When a scheduled command is due: `every=timedelta(hours=1)` or `at=time(6)` beside its handler."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """Runs at regular times: each multiple of `every` since midnight of 1970-01-01 UTC, or once a day.

    Attributes:
        every: at least two seconds.
        at: the time of the day, UTC.
    """

    every: timedelta = _DAY
    at: time = time()

    def __post_init__(self) -> None:
        """Check that the schedule is valid.

        Raises:
            ValueError: the interval is too short, the time is not that of UTC, or there are two rules.
        """
        if self.at.tzinfo is not None:
            raise ValueError("`at` is the time in UTC, without a time zone")
        if self.every < timedelta(seconds=2):
            raise ValueError("beat looks every two seconds")
        if self.every != _DAY and self.at != time():
            raise ValueError("either `every` or `at`")

    def after(self, moment: datetime) -> datetime:
        """The first run after a time."""
        return self._offset + (self._number(moment) + 1) * self.every

    def count(self, since: datetime, until: datetime) -> int:
        """How many runs fall after `since`, up to and including `until`."""
        return max(self._number(until) - self._number(since), 0)

    def __str__(self) -> str:
        if self.every == _DAY:
            return f"daily at {self.at:%H:%M} UTC"
        return f"every {self.every.total_seconds():g} s"

    @property
    def _offset(self) -> datetime:
        return _EPOCH + timedelta(hours=self.at.hour, minutes=self.at.minute, seconds=self.at.second)

    def _number(self, moment: datetime) -> int:
        return (moment - self._offset) // self.every
