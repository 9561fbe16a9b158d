"""A wall clock of one process that a test can set while it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Clock:
    """The clock of every process that is started with its environment. Needs a C compiler, `cc`.

    Attributes:
        environment: what makes a process read this clock.
    """

    def __init__(self, directory: Path) -> None:
        library, self._shift = directory / "clock.so", directory / "clock"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(("cc", "-shared", "-fPIC", "-o", library, source), check=True)
        self._shift.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._shift)}

    def set(self, seconds: int) -> None:
        """Be so much ahead of the right time from now on, or behind it when negative."""
        with self._shift.open("r+b") as shift:
            shift.write(seconds.to_bytes(8, "little", signed=True))
