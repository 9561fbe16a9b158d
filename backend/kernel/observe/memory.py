"""The memory of processes, as Linux reports it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def memory_of(pids: Iterable[int]) -> int | None:
    """The bytes of these processes together; shared memory counts once. None if the system does not report them."""
    try:
        return sum(_proportional_set_size(pid) for pid in pids)
    except (OSError, LookupError):
        return None


def _proportional_set_size(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
