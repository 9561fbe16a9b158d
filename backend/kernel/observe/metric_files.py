"""The files in which each process keeps its metrics for all of them, on a disk that may be full.

prometheus-client maps a file that has no blocks on disk yet. Writing to a page that the disk has no room for is a
SIGBUS, which ends the process. So the room is reserved first, and a metric that gets none is not counted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import structlog
from prometheus_client import mmap_dict, values

_FIRST_BYTES = 1 << 16
_LONGEST_ENTRY = 64
"""Bytes of an entry besides its key, and more."""

log = structlog.get_logger(__name__)


class ReservedFile(mmap_dict.MmapedDict):
    """prometheus-client's file of values, whose room on disk is reserved before it is mapped."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002 - its signature
        with Path(filename).open("ab") as file:
            _reserve(file.fileno(), _FIRST_BYTES)
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def read_value(self, key: str) -> tuple[float, float]:
        """The value and its time; nothing is kept of what has no room."""
        return super().read_value(key) if self._has_room(key) else (0.0, 0.0)  # type: ignore[no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Keep the value, if there is room."""
        if self._has_room(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has_room(self, key: str) -> bool:
        if key in self._positions:
            return True
        capacity: int = self._capacity
        while self._used + len(key.encode()) + _LONGEST_ENTRY > capacity:
            capacity *= 2
        try:
            _reserve(self._f.fileno(), capacity)
        except OSError as error:
            _complain(error)
            return False
        return True


class NoFile:
    """In the place of a file that could not be made."""

    def read_value(self, _key: str) -> tuple[float, float]:
        """Nothing is known."""
        return 0.0, 0.0

    def write_value(self, _key: str, _value: float, _timestamp: float) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


def keep_within_the_disk() -> None:
    """Have prometheus-client use them. To be called before the first metric is made."""
    values.MmapedDict = _file_of  # type: ignore[attr-defined,assignment]


def _file_of(filename: str) -> ReservedFile | NoFile:
    try:
        return ReservedFile(filename)
    except OSError as error:
        with suppress(OSError):
            Path(filename).unlink()  # a scrape would stumble over an empty one
        _complain(error)
        return NoFile()


def _reserve(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file, 0, size)


_complained = False


def _complain(error: OSError) -> None:
    global _complained  # noqa: PLW0603 - one line for each process
    if not _complained:
        _complained = True
        log.error("metrics are not counted: there is no room for them", reason=error.strerror)
