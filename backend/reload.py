"""Restarts the programs of `make run` when their code changes: they end as on SIGTERM, and supervisord starts them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil

from backend.settings import ROOT

_WATCHED = ("backend", "tasks")
_SUFFIXES = (".py", ".html", ".txt", ".css", ".js")  # code, pages and mails; no file of an editor or of Python's
_FILES = ("wsgi.py", "celeryconfig.py")
_LINES = 5
"""Of a traceback: the last place in it, and the error."""


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

    def look(self) -> str:
        """Restart API and workers if a file changed since the last look and the code loads; returns what to tell."""
        modified = self._modified()
        self._changed = self._changed or modified != self._seen
        self._seen = modified
        if not self._changed:
            return ""
        try:
            programs = [child for child in self._supervisord.children() if _runs_our_code(child)]
            if any(time.time() - program.create_time() < self._settled_after for program in programs):
                return ""  # with a later look
        except psutil.NoSuchProcess:  # one has just ended
            return ""
        self._changed = False
        if problem := loading_problem(self._root):
            return f"{problem}\ncode changed, but cannot be loaded: what runs goes on with the code of before"
        for program in programs:
            with contextlib.suppress(psutil.NoSuchProcess):
                program.terminate()
        return "code changed: restarting the API and the workers"

    def _modified(self) -> dict[Path, float]:
        folders = (file for folder in _WATCHED for file in (self._root / folder).rglob("*"))
        times = {}
        for file in (*(self._root / name for name in _FILES), *folders):
            if file.suffix not in _SUFFIXES:
                continue
            with contextlib.suppress(FileNotFoundError):  # an editor writes a new file in its place
                times[file] = file.stat().st_mtime
        return times


def loading_problem(root: Path = ROOT) -> str:
    """Why Python cannot load the code, in its words; empty if it can."""
    ended = subprocess.run(
        (sys.executable, "-c", "import wsgi"), cwd=root, stderr=subprocess.PIPE, text=True, check=False
    )
    return "\n".join(ended.stderr.splitlines()[-_LINES:]) if ended.returncode else ""


def _runs_our_code(program: psutil.Process) -> bool:
    words = program.cmdline()
    return "wsgi:app" in words or ("tasks.app" in words and "flower" not in words)
