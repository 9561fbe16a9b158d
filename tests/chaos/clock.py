"""A wall clock of one process that a test can set while it runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class Clock:
    """The clock of every process that is started with its environment.

    Attributes:
        environment: what makes a process read this clock. Empty without a C compiler, `cc`.
    """

    def __init__(self, directory: Path) -> None:
        library, self._shift = directory / "clock.so", directory / "clock"
        source = Path(__file__).with_name("clock.c")
        self.environment: dict[str, str] = {}
        if shutil.which("cc"):
            subprocess.run(("cc", "-shared", "-fPIC", "-o", library, source), check=True)
            self._shift.write_bytes(bytes(8))
            self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._shift)}

    def set(self, seconds: int) -> None:
        """Be so much ahead of the right time from now on, or behind it when negative."""
        assert self.environment, "setting a clock needs a C compiler, cc"
        with self._shift.open("r+b") as shift:
            shift.write(seconds.to_bytes(8, "little", signed=True))
