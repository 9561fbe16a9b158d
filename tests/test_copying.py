"""A project of one's own: copied, changed, and updated to a later version, with git and copier."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from backend.settings import ROOT
from tests.postgres import database_beside
from tests.test_extending import STEP, section
from tests.tree import Tree, copied, with_types

pytestmark = pytest.mark.timeout(900)  # runs copier, mypy and tests of its own

_ANSWERS = ("--defaults", "--data", "project_name=shop")
_CHANGED = ("README.md", "backend/contexts/users/domain/rules.py", "backend/kernel/limits.py", "docs/glossary.md")
"""What both change: the project above the first line, the later version below the last."""
_DROPPED = tuple(f"{folder}/{'products'}/" for folder in ("backend/contexts", "migrations", "tests/contexts"))
_FAST = (
    "tests/contexts/wishlists",
    "tests/kernel/test_openapi.py",
    "tests/test_compose.py",
    "tests/test_docs.py",
    "tests/test_kubernetes.py",
)


@pytest.fixture(scope="module")
def source(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """The program as version 0.2.0."""
    with database_beside(database_url, "copying_test") as url:
        source = copied(tmp_path_factory.mktemp("copying") / "source", url)
        source.run("git", "init", "--quiet")
        _commit(source)
        source.run("git", "tag", "v0.2.0")
        yield source


@pytest.fixture(scope="module")
def project(source: Tree) -> Tree:
    """A copy called `shop`, with a context and changes of its own; it dropped products, then took version 0.3.0."""
    project = Tree(source.path.with_name("shop"), source.database_url)
    source.run("copier", "copy", "--quiet", *_ANSWERS, str(source.path), str(project.path))
    project.run("flask", "new", "context", "wishlists")
    for step in STEP.finditer(section("A field")):
        project.run(*shlex.split(step["command"] or "git apply"), given=step["diff"])
    for file in (project.path / name for name in _CHANGED):
        file.write_text(f"# Ours\n{file.read_text()}")
    project.run("git", "init", "--quiet")
    _commit(project)
    project.run("alembic", "downgrade", "products@base")
    (command,) = re.findall(r"`\.venv/bin/(copier update .*products=false)`", section("Dropping a context"))
    project.run(*command.split(), "--quiet", "--defaults")
    _commit(project)

    for file in (source.path / name for name in _CHANGED):
        file.write_text(f"{file.read_text()}\n\n# Later\n")
    source.write(f"{_DROPPED[0]}domain/prices.py", '"""Later."""\n')
    _commit(source)
    source.run("git", "tag", "v0.3.0")
    project.run("copier", "update", "--quiet", "--defaults")
    return with_types(project)


def test_an_update_brings_what_is_later_and_keeps_what_is_ours(project: Tree) -> None:
    for text in ((project.path / name).read_text() for name in _CHANGED):
        assert text.startswith("# Ours\n")
        assert text.endswith("\n# Later\n")
    assert "    wishlists,\n" in (project.path / "backend/program.py").read_text()


def test_what_was_dropped_does_not_come_back(project: Tree) -> None:
    assert "products" not in (project.path / "backend/program.py").read_text()
    assert [name for name in project.source() if name.startswith(_DROPPED)] == []


def test_a_copy_may_be_without_products_from_the_beginning(source: Tree, project: Tree) -> None:
    bare = Tree(source.path.with_name("bare"), source.database_url)
    answers = (*_ANSWERS, "--data", "products=false")
    source.run("copier", "copy", "--quiet", *answers, str(source.path), str(bare.path))
    assert bare.source().keys() <= project.source().keys()
    assert "products" not in (bare.path / "backend/program.py").read_text()


def test_a_file_that_is_not_ours_is_that_of_the_later_version(source: Tree, project: Tree) -> None:
    later, here = source.source(), project.source()
    templates = {name.removesuffix(".jinja") for name in later if name.endswith(".jinja")}
    untouched = (later.keys() & here.keys()) - {*_CHANGED, *templates}
    assert [name for name in untouched if here[name] != later[name]] == []
    assert project.run("git", "diff", "--name-only", "--diff-filter=U") == ""  # no conflict


def test_an_updated_project_passes_the_gates(project: Tree) -> None:
    project.passes_the_gates()
    project.passes_tests(*_FAST)


def test_a_project_knows_the_version_that_it_came_from(project: Tree) -> None:
    assert "_commit: v0.3.0\n" in (project.path / ".copier-answers.yml").read_text()


def test_the_name_is_replaced_in_the_files_that_the_page_names(source: Tree, project: Tree) -> None:
    page = (ROOT / "docs/extending.md").read_text()
    (named,) = re.findall(r"^    sed -i s/promise-backend/shop/ (.*)$", page, re.MULTILINE)
    remaining, containing = _named(project), _named(source)
    assert (containing & project.source().keys()) - remaining == set(named.split())


def _named(tree: Tree) -> set[str]:
    """The files that contain the project's name, other than in those of the npm packages."""
    return {name for name, content in tree.source().items() if re.search(rb"promise-backend(?!-client|-web)", content)}


def _commit(tree: Tree) -> None:
    tree.run("git", "add", "--all")
    tree.run("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--message", "All")
