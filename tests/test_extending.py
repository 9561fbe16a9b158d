"""docs/extending.md, followed on a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from backend.scaffold.context import NewContext, Unsuitable
from backend.settings import ROOT
from tests.worker import environment

pytestmark = pytest.mark.timeout(600)  # runs mypy and tests of its own

_PAGE = (ROOT / "docs/extending.md").read_text()
_DIFFS = re.findall(r"^```diff\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
_PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
_NOT_SOURCE = ".git", ".venv", ".env", "var", ".*_cache", "__pycache__"
_NOT_WRITTEN = {".mypy_cache", ".ruff_cache", ".import_linter_cache", ".pytest_cache", "__pycache__", "var"}


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

    def run(self, *command: str, given: str | None = None) -> str:
        """What the program said; it must succeed."""
        settings = environment(DATABASE_URL=self.database_url, TEST_DATABASE_URL=self.database_url, FLASK_APP="wsgi")
        ended = subprocess.run(
            (shutil.which(command[0], path=_PROGRAMS) or command[0], *command[1:]),
            cwd=self.path,
            env={**settings, "PYTHONPATH": str(self.path)},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def passes_the_gates(self, *files: str) -> None:
        """What `make check` asks, of those files, and of the tests and the schema of all of it."""
        python = [name for name in files if name.endswith(".py")]
        self.run("ruff", "check", "--no-cache", *python)
        self.run("ruff", "format", "--no-cache", "--check", *python)
        self.run("mypy", *(name for name in python if not name.startswith("migrations/")))
        self.run("lint-imports", "--no-cache")
        self.run("alembic", "upgrade", "heads")
        self.run("alembic", "check")
        tests = {str(Path(name).parent) for name in python if name.startswith("tests/")}
        self.run("python", "-m", "pytest", "-q", *sorted(tests), "tests/flow/test_wire_format.py")


@pytest.fixture(scope="module")
def tree(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    path = tmp_path_factory.mktemp("extending") / "tree"
    shutil.copytree(ROOT, path, ignore=shutil.ignore_patterns(*_NOT_SOURCE))
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", path / ".mypy_cache")  # or else mypy begins anew
    url = sa.make_url(database_url).set(database="extending_test").render_as_string(hide_password=False)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS extending_test WITH (FORCE)")
        connection.execute("CREATE DATABASE extending_test")
        yield Tree(path, url)
        connection.execute("DROP DATABASE extending_test WITH (FORCE)")


@pytest.fixture(scope="module")
def before(tree: Tree) -> dict[str, bytes]:
    """The source before anything was made."""
    return tree.source()


@pytest.fixture(scope="module")
def made(tree: Tree, before: dict[str, bytes]) -> list[str]:
    """The files that the page's command made or changed, and those of a context with a longer name."""
    (command,) = re.findall(r"^    flask (new context .*)$", _PAGE, re.MULTILINE)
    said = tree.run("flask", *command.split()) + tree.run("flask", "new", "context", "order_items")
    return sorted({line for line in said.splitlines() if (tree.path / line).is_file()})


def test_a_new_context_passes_every_check_untouched(tree: Tree, made: list[str]) -> None:
    """`flask new context <name>` generates a context that passes `make check` untouched."""
    tree.passes_the_gates(*made)
    tree.run("python", "-m", "pytest", "-q", "tests/test_compose.py", "tests/test_settings.py")


def test_a_new_context_is_its_own_files_and_one_line_of_the_program_with_its_import(
    tree: Tree, made: list[str], before: dict[str, bytes]
) -> None:
    after = tree.source()
    changed = [name for name in before if after.get(name) != before[name]]
    assert changed == ["backend/program.py"]
    assert set(made) == {*changed, *(after.keys() - before.keys())}
    lines = [after["backend/program.py"].decode().splitlines(), before["backend/program.py"].decode().splitlines()]
    assert sorted(set(lines[0]) - set(lines[1])) == [
        "    order_items,",
        "    wishlists,",
        "from backend.contexts.order_items.context import context as order_items",
        "from backend.contexts.wishlists.context import context as wishlists",
    ]
    assert len(lines[0]) == len(lines[1]) + 4


@pytest.mark.usefixtures("made")
def test_every_step_of_the_page_does_what_it_says(tree: Tree) -> None:
    changed = set()
    for diff in _DIFFS:
        tree.run("git", "apply", "--verbose", given=diff)
        changed |= _changed(diff)
    (pin,) = set(re.findall(r"^    python (-m tests.*)$", _PAGE, re.MULTILINE))
    tree.run("python", *pin.split())
    tree.passes_the_gates(*sorted(changed))


def test_a_command_costs_three_files_and_about_twenty_lines() -> None:
    command, *_ = _DIFFS
    assert [Path(name).name for name in sorted(_changed(command))] == ["commands.py", "handlers.py", "routes.py"]
    assert len(re.findall(r"^\+(?!\+).+", command, re.MULTILINE)) <= 25


@pytest.mark.parametrize(
    ("name", "entity"),
    [
        ("Wishlists", "wishlist"),
        ("wish-lists", "wishlist"),
        ("wishlists2", "wishlist"),
        ("_wishlists", "wishlist"),
        ("wishlists", "class"),
        ("wishlists", "list"),
        ("handlers", "handler"),
        ("wishlists", "version"),
        ("products", "product"),
        ("operations", "operation"),
        ("bench", "bench"),
        ("kernel", "kernels"),
        ("maintenance", "task"),
        ("inbox", "inboxes"),
        ("w" * 31, "wishlist"),
        ("../wishlists", "wishlist"),
    ],
)
def test_a_name_that_is_taken_or_cannot_be_one_is_refused(name: str, entity: str) -> None:
    with pytest.raises(Unsuitable):
        NewContext(name, entity).check()


def _changed(diff: str) -> set[str]:
    return set(re.findall(r"^\+\+\+ b/(.*)$", diff, re.MULTILINE))
