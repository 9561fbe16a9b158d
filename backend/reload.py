"""Restarts the programs of `make run` when their code changes: they end as on SIGTERM, and supervisord starts them."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

from backend.settings import ROOT

_WATCHED = ("backend", "tasks")
_FILES = ("wsgi.py", "celeryconfig.py")


class Reloader:
    """Looks for changed files below backend/ and tasks/.

    Args:
        supervisord: its process id.
        settled_after: seconds for which a program must have run. Supervisord gives up on one that ends several times
            before, see `startsecs`.
    """

    def __init__(self, supervisord: int, root: Path = ROOT, settled_after: float = 10) -> None:
        self._supervisord = psutil.Process(supervisord)
        self._root = root
        self._settled_after = settled_after
        self._seen = self._modified()
        self._changed = False

    def look(self) -> bool:
        """Restart API and workers if a file changed since the last look; returns whether they were."""
        modified = self._modified()
        self._changed = self._changed or modified != self._seen
        self._seen = modified
        if not self._changed:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            programs = [child for child in self._supervisord.children() if _runs_our_code(child)]
            if any(time.time() - program.create_time() < self._settled_after for program in programs):
                return False  # with the next look
            for program in programs:
                program.terminate()
        self._changed = False
        return True

    def _modified(self) -> dict[Path, float]:
        folders = (file for folder in _WATCHED for file in (self._root / folder).rglob("*.py"))
        times = {}
        for file in (*(self._root / name for name in _FILES), *folders):
            with contextlib.suppress(FileNotFoundError):  # an editor writes a new file in its place
                times[file] = file.stat().st_mtime
        return times


def _runs_our_code(program: psutil.Process) -> bool:
    words = program.cmdline()
    return "wsgi:app" in words or ("tasks.app" in words and "flower" not in words)
