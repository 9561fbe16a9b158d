"""docs/extending.md and the pages that it links below docs/extending/, followed in order on a copy of the tree."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from backend.scaffold.context import NewContext, Unsuitable
from backend.settings import ROOT
from tests.postgres import database_beside
from tests.tree import Tree, copied

pytestmark = pytest.mark.timeout(900)  # runs mypy and tests of its own

PAGE = (ROOT / "docs/extending.md").read_text()
PAGES = [PAGE, *((ROOT / "docs" / link).read_text() for link in re.findall(r"\((extending/[\w-]+\.md)\)", PAGE))]
"""The texts of the pages, in order."""
STEP = re.compile(
    r"^```diff\n(?P<diff>.*?)^```$"
    r"|^```\w+\n# (?P<file>\S+/\S+)\n+(?P<content>.*?)^```$"
    r"|^    (?P<command>(?:flask|alembic|python) [^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
"""A diff, a new file below its path, or an indented command of the program."""
PIN = "python -m tests.flow.wire"
LONG = "customer_relationship_records"


@pytest.fixture(scope="module")
def tree(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with database_beside(database_url, "extending_test") as url:
        yield copied(tmp_path_factory.mktemp("extending") / "tree", url)


@pytest.fixture(scope="module")
def before(tree: Tree) -> dict[str, bytes]:
    """The source before anything was made."""
    return tree.source()


@pytest.fixture(scope="module")
def made(tree: Tree, before: dict[str, bytes]) -> list[str]:
    """The files that the page's command made or changed, and those of a context with a longer name."""
    (command,) = re.findall(r"^    flask (new context .*)$", PAGE, re.MULTILINE)
    said = tree.run("flask", *command.split()) + tree.run("flask", "new", "context", LONG)
    return sorted({line for line in said.splitlines() if (tree.path / line).is_file()})


def test_a_new_context_passes_every_check_untouched(tree: Tree, made: list[str]) -> None:
    """`flask new context <name>` generates a context that passes `make check` untouched."""
    tree.passes_the_gates(*python_of(made))
    tree.passes_tests(
        *directories_of(made),
        "tests/flow/test_wire_format.py",
        "tests/kernel/test_openapi.py",
        "tests/test_kubernetes.py",
    )


def test_a_new_context_is_its_own_files_and_one_line_of_the_program_with_its_import(
    tree: Tree, made: list[str], before: dict[str, bytes]
) -> None:
    after = tree.source()
    changed = [name for name in before if after.get(name) != before[name]]
    assert changed == ["backend/program.py"]
    assert set(made) == {*changed, *(after.keys() - before.keys())}
    lines = [after["backend/program.py"].decode().splitlines(), before["backend/program.py"].decode().splitlines()]
    assert sorted(set(lines[0]) - set(lines[1])) == [
        f"    {LONG},",
        "    wishlists,",
        f"from backend.contexts.{LONG}.context import context as {LONG}",
        "from backend.contexts.wishlists.context import context as wishlists",
    ]
    assert len(lines[0]) == len(lines[1]) + 4


@pytest.mark.usefixtures("made")
def test_every_step_of_the_pages_does_what_it_says(tree: Tree) -> None:
    before = tree.source()
    tree.run("alembic", "upgrade", "heads")
    pages = [page for page in PAGES if has_what_it_changes(page)]
    for step in (step for page in pages for step in STEP.finditer(page)):
        if step["diff"]:
            tree.run("git", "apply", "--verbose", given=step["diff"])
        elif step["file"]:
            tree.write(step["file"], step["content"])
        elif step["command"] not in ("flask new context wishlists", PIN):  # `made` has run it; one PIN is enough
            tree.run(*shlex.split(step["command"]))
    tree.run(*shlex.split(PIN))
    after = tree.source()
    changed = [name for name, content in after.items() if before.get(name) != content]
    tree.passes_the_gates(*python_of(changed))
    tests = {
        name for page in pages for name in re.findall(r"^(?:\+\+\+ b/|# )(tests/\S*/test_\w+\.py)$", page, re.MULTILINE)
    }
    tree.passes_tests(
        *sorted(tests),
        "tests/contexts/wishlists/test_handlers.py",
        "tests/flow/test_wire_format.py",
        "tests/kernel/test_openapi.py",
        "tests/contexts/notifications/test_composing.py",
        "tests/kernel/test_schedule.py",
        "tests/test_compose.py",
        "tests/test_kubernetes.py",
        "tests/test_settings.py",
    )


def test_a_new_language_names_every_text_that_is_missing(tree: Tree) -> None:
    languages = (tree.path / "backend/languages.py").read_text()
    tree.write("backend/languages.py", languages.replace('("en", "es")', '("en", "es", "de")'))
    said = tree.fails_tests("-k", "every_language", "tests/contexts/notifications", "tests/contexts/users")
    tree.write("backend/languages.py", languages)
    mails = (tree.path / "backend/contexts/notifications/infrastructure/templates/en").iterdir()
    assert [mail.name for mail in mails if f"templates/de/{mail.name}" not in said] == []
    assert [text for text in ("VERIFY['de']['title']", "ERRORS['de']['email_taken']") if text not in said] == []


def test_a_field_costs_five_files_and_a_command_three() -> None:
    field, command = section("A field"), section("A command")
    assert len(changed_by(field)) + len(re.findall("alembic revision", field)) <= 5
    assert [Path(name).name for name in changed_by(command) if "tests" not in name] == [
        "commands.py",
        "handlers.py",
        "routes.py",
    ]
    assert len(re.findall(r"^\+(?!\+).+", command, re.MULTILINE)) <= 30


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
        ("users", "user"),
        ("operations", "operation"),
        ("bench", "bench"),
        ("kernel", "kernels"),
        ("maintenance", "task"),
        ("inbox", "inboxes"),
        ("w" * 31, "wishlist"),
        ("../wishlists", "wishlist"),
        ("addresses", "address"),
        ("collections", "collection"),
        ("testimonials", "testimonial"),
    ],
)
def test_a_name_that_is_taken_or_cannot_be_one_is_refused(name: str, entity: str) -> None:
    with pytest.raises(Unsuitable):
        NewContext(name, entity).check()


def test_the_names_that_the_pages_take_are_free() -> None:
    for name, entity in re.findall(r"flask new context (\w+)(?: --entity (\w+))?", "".join(PAGES)):
        NewContext(name, entity or name.removesuffix("s")).check()


def has_what_it_changes(page: str) -> bool:
    """Whether the contexts that the page changes are here: those of the source, and those that a page makes."""
    here = {path.parent.name for path in (ROOT / "backend/contexts").glob("*/context.py")} | set(
        re.findall(r"flask new context (\w+)", "".join(PAGES))
    )
    return set(re.findall(r"^--- a/backend/contexts/(\w+)/", page, re.MULTILINE)) <= here


def section(title: str) -> str:
    """The text below that heading of the page."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def changed_by(text: str) -> list[str]:
    """The files that its diffs change."""
    return sorted(set(re.findall(r"^\+\+\+ b/(.*)$", text, re.MULTILINE)))


def python_of(files: Iterable[str]) -> list[str]:
    return [name for name in files if name.endswith(".py")]


def directories_of(files: Iterable[str]) -> list[str]:
    """The directories of the tests among them."""
    return sorted({str(Path(name).parent) for name in python_of(files) if name.startswith("tests/")})
