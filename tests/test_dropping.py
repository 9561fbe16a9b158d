"""A context is dropped: its folder, its two lines, its migrations and its tests, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import database_beside
from tests.tree import Tree, copied

pytestmark = pytest.mark.timeout(600)  # runs mypy and tests of its own
_FAST = (
    "tests/contexts",
    "tests/kernel/test_bus.py",
    "tests/kernel/test_http.py",
    "tests/kernel/test_messages.py",
    "tests/flow/test_wire_format.py",
    "tests/test_architecture.py::test_a_new_context_keeps_every_contract_without_a_line_of_its_own",
    "tests/test_compose.py",
    "tests/test_docs.py",
    "tests/test_migrations.py",
    "tests/test_services.py",
    "tests/test_settings.py",
)


@pytest.fixture
def tree(database_url: str, tmp_path: Path) -> Iterator[Tree]:
    with database_beside(database_url, "dropping_test") as url:
        yield copied(tmp_path / "tree", url)


def drop(tree: Tree, name: str) -> None:
    """Remove the context as the page says."""
    for folder in ("backend/contexts", "migrations", "tests/contexts"):
        shutil.rmtree(tree.path / folder / name)
    program = tree.path / "backend/program.py"
    lines = program.read_text().splitlines(keepends=True)
    own = (f"from backend.contexts.{name}.context import context as {name}\n", f"    {name},\n")
    program.write_text("".join(line for line in lines if line not in own))


def test_without_products_everything_else_is_as_it_was(tree: Tree) -> None:
    drop(tree, "products")

    tree.passes_the_gates()
    tree.passes_tests("--collect-only", "tests")
    tree.passes_tests(*_FAST)
