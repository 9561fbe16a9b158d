"""A context is dropped as docs/extending.md says: folder, migrations, tests and two lines, and nothing else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.settings import ROOT
from tests.postgres import database_beside
from tests.tree import Tree, copied

pytestmark = pytest.mark.timeout(1200)  # runs mypy and tests of its own
_FAST = (
    "tests/contexts/auth/test_sign_in.py",
    "tests/contexts/notifications",
    "tests/contexts/operators",
    "tests/contexts/users/test_registration.py",
    "tests/kernel/test_http.py",
    "tests/kernel/test_openapi.py",
    "tests/flow/test_wire_format.py",
    "tests/test_architecture.py::test_a_new_context_keeps_every_contract_without_a_line_of_its_own",
    "tests/test_compose.py",
    "tests/test_docs.py",
    "tests/test_kubernetes.py",
    "tests/test_migrations.py",
    "tests/test_services.py",
    "tests/test_settings.py",
)
"""What runs the whole program, and the contexts that look at others. The import contracts keep the rest apart."""


@pytest.fixture
def tree(database_url: str, tmp_path: Path) -> Iterator[Tree]:
    with database_beside(database_url, "dropping_test") as url:
        yield copied(tmp_path / "tree", url)


def test_without_products_everything_else_is_as_it_was(tree: Tree) -> None:
    page = (tree.path / "docs/extending.md").read_text().partition("## Dropping a context\n")[2]
    for command in re.findall(r"^    (.*)$", page.partition("\n## ")[0], re.MULTILINE):
        tree.run(*shlex.split(command))

    tree.passes_the_gates()
    tree.passes_tests("--collect-only", "tests")
    tree.passes_tests("-n", "2", "--dist", "loadfile", *_FAST)


def test_no_other_test_needs_products() -> None:
    """`tests/notes.py` is the context for tests that need one."""
    own = Path(__file__).parent
    others = [path for path in (ROOT / "tests").rglob("*.py") if own not in path.parents]
    assert [
        path for path in others if re.search(r"/products|contexts\.products|products_context", path.read_text())
    ] == []
