"""A copy of the source tree, to be changed and tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from backend.settings import ROOT
from tests.worker import environment

_PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
_PYTEST = "python", "-m", "pytest", "-q", "-p", "no:cacheprovider"
_NOT_SOURCE = ".git", "node_modules", "dist", ".venv", ".env", "var", ".*_cache", "__pycache__", ".hypothesis"
_NOT_WRITTEN = {
    ".git",
    ".mypy_cache",
    ".ruff_cache",
    ".import_linter_cache",
    ".pytest_cache",
    ".hypothesis",
    "__pycache__",
    "var",
}


@dataclass(frozen=True)
class Tree:
    """A copy of the source, and a database for it."""

    path: Path
    database_url: str

    def source(self) -> dict[str, bytes]:
        """Every file of it that somebody wrote, and its content."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        names = ((str(path.relative_to(self.path)), path) for path in files)
        return {name: path.read_bytes() for name, path in names if not set(Path(name).parts) & _NOT_WRITTEN}

    def write(self, name: str, content: str) -> None:
        """Write a file, and its directory if there is none."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def run(self, *command: str, given: str | None = None) -> str:
        """What the program said; it must succeed."""
        ended = self._ended(*command, given=given)
        assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def _ended(self, *command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        settings = environment(DATABASE_URL=self.database_url, TEST_DATABASE_URL=self.database_url, FLASK_APP="wsgi")
        return subprocess.run(
            (shutil.which(command[0], path=_PROGRAMS) or command[0], *command[1:]),
            cwd=self.path,
            env={**settings, "PYTHONPATH": str(self.path)},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def passes_the_gates(self, *python: str) -> None:
        """What `make check` asks before the tests, of those files or else of all; the schema is that of the code."""
        self.run("ruff", "check", "--no-cache", *python)
        self.run("ruff", "format", "--no-cache", "--check", *python)
        self.run("mypy", *(name for name in python if not name.startswith("migrations/")))
        self.run("lint-imports", "--no-cache")
        self.run("alembic", "upgrade", "heads")
        self.run("alembic", "check")

    def passes_tests(self, *tests: str) -> None:
        """Those tests, one after the other unless pytest's options among them say otherwise."""
        self.run(*_PYTEST, *tests)

    def fails_tests(self, *tests: str) -> str:
        """What pytest said of those tests; some must fail."""
        ended = self._ended(*_PYTEST, *tests)
        assert ended.returncode == 1, f"{tests}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout


def copied(path: Path, database_url: str) -> Tree:
    """The source, copied to `path`."""
    shutil.copytree(ROOT, path, ignore=shutil.ignore_patterns(*_NOT_SOURCE))
    return with_types(Tree(path, database_url))


def with_types(tree: Tree) -> Tree:
    """The tree, with what mypy knows already of the source: otherwise it would begin anew."""
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", tree.path / ".mypy_cache")
    return tree
