"""A new context: its files from the templates, and its line in the program."""

from __future__ import annotations

import builtins
import io
import keyword
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from uuid import uuid4

import marshmallow

from backend.kernel.messages.registry import Kind
from backend.kernel.postgres.tables import metadata
from backend.settings import ROOT

_TEMPLATES = Path(__file__).with_name("templates")
_PROGRAM = ROOT / "backend/program.py"
_SNAKE_CASE = re.compile(r"[a-z]+(_[a-z]+)*")
_LONGEST = 30
"""Characters of a name: PostgreSQL cuts the names of indexes, which contain it, at 63."""


class Unsuitable(Exception):
    """The name, or the tree, is not one that a context can be made from."""


@dataclass(frozen=True)
class NewContext:
    """What a context is called.

    Attributes:
        name: the context, its table and its queues; a plural in snake_case.
        entity: one of what it is about, in snake_case.
    """

    name: str
    entity: str

    def check(self) -> None:
        """Whether both names are free, and can stand in Python and in SQL.

        Raises:
            Unsuitable: they are not.
        """
        for text in (self.name, self.entity):
            if not _SNAKE_CASE.fullmatch(text) or len(text) > _LONGEST:
                raise Unsuitable(f"{text!r} must be snake_case: lower-case letters and _, at most {_LONGEST} of them.")
            used = {text, _camel_case(text)} & _names_in_templates()
            if used or keyword.iskeyword(text) or hasattr(builtins, text):
                raise Unsuitable(f"{text!r} means something else in the code; take another word.")
            if text.startswith("test"):
                raise Unsuitable(f"pytest takes {_camel_case(text)!r} for a class of tests; take another word.")
        if self.name == self.entity:
            raise Unsuitable(f"One of the {self.name} needs a name of its own: --entity.")
        entity = _camel_case(self.entity)
        bodies = {entity, f"{entity}Schema", f"{entity}Page", f"New{entity}"} & _names_of_subclasses(marshmallow.Schema)
        if bodies:
            raise Unsuitable(f"The OpenAPI document has a body called {min(bodies)!r} already; take another word.")
        taken = [ROOT / folder / self.name for folder in ("backend/contexts", "migrations", "tests/contexts")]
        if any(path.exists() for path in taken) or self.name in metadata.tables or self.name in set(Kind):
            raise Unsuitable(f"There is something called {self.name!r} already.")
        if self.name in _names_in([_PROGRAM.read_text()]):
            raise Unsuitable(f"{self.name!r} means something else in {_PROGRAM.name}; take another word.")

    def words(self) -> dict[str, str]:
        """What the placeholders of the templates stand for."""
        word = self.entity.replace("_", " ")
        article = "an" if word[0] in "aeiou" else "a"
        return {
            "context": self.name,
            "Context": _camel_case(self.name),
            "entity": self.entity,
            "Entity": _camel_case(self.entity),
            "words": self.name.replace("_", " "),
            "word": word,
            "a_word": f"{article} {word}",
            "A_word": f"{article.capitalize()} {word}",
            "path": self.name.replace("_", "-"),
        }


def create(context: NewContext) -> list[Path]:
    """Write the context's files, and its line in the program; returns the files that are new, then that of the program.

    Everything is worked out before the first file is written.

    Raises:
        Unsuitable: the names are not free, or the tree is not as it has to be; nothing was written.
    """
    context.check()
    new, program = dict(_files(context)), _with_context(_PROGRAM.read_text(), context.name)
    for path, content in {**new, _PROGRAM: program}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    python = [str(path) for path in (*new, _PROGRAM) if path.suffix == ".py"]
    _run("ruff", "check", "--quiet", "--fix", "--select", "I", *python)  # how long a line is depends on the names
    _run("ruff", "format", "--quiet", *python)
    _run("python", "-m", "tests.flow.wire")
    return [*new, ROOT / "tests/contexts" / context.name / "wire.json", _PROGRAM]


def _files(context: NewContext) -> Iterator[tuple[Path, str]]:
    revision = uuid4().hex[-12:]  # as Alembic's own, whose import would slow the start of each API process
    words = {**context.words(), "revision": revision}
    spelled = {"CONTEXT": context.name, "ENTITY": context.entity}
    spelled["REVISION"] = f"{datetime.now(UTC):%Y%m%d}_first_tables_{revision}"
    for template in sorted(_TEMPLATES.rglob("*.template")):
        path = str(template.relative_to(_TEMPLATES).with_suffix(""))
        for placeholder, text in spelled.items():
            path = path.replace(placeholder, text)
        yield ROOT / path, Template(template.read_text()).substitute(words)


def _with_context(program: str, name: str) -> str:
    """The source of the program with that context: its import, and its line in CONTEXTS, in order."""
    found = re.search(r"^CONTEXTS\b.*\(\n((?:    \w+,\n)*)\)\n", program, re.MULTILINE)
    if found is None:
        raise Unsuitable(f"{_PROGRAM.name} has no tuple CONTEXTS with a context in each line.")
    entries = sorted([*found[1].splitlines(keepends=True), f"    {name},\n"])
    wired = program[: found.start(1)] + "".join(entries) + program[found.end(1) :]
    imported = f"from backend.contexts.{name}.context import context as {name}\n"
    first = wired.index("from backend.")  # ruff sorts them
    return wired[:first] + imported + wired[first:]


def _names_in_templates() -> set[str]:
    """Every name that the code of the templates uses: a context of that name would hide it."""
    words = dict.fromkeys([*NewContext("", "x").words(), "revision"], "x")
    return _names_in(Template(path.read_text()).substitute(words) for path in _TEMPLATES.rglob("*.template"))


def _names_in(sources: Iterable[str]) -> set[str]:
    """The names in the code, other than those that follow a dot or `from`: they are found by what is before."""
    found, before = set(), ""
    for token in (token for source in sources for token in tokenize.generate_tokens(io.StringIO(source).readline)):
        if token.type == tokenize.NAME and before not in (".", "from"):
            found.add(token.string)
        before = token.string
    return found


def _names_of_subclasses(kind: type) -> set[str]:
    below: list[type] = kind.__subclasses__()
    return {one.__name__ for one in below}.union(*map(_names_of_subclasses, below))


def _camel_case(text: str) -> str:
    return "".join(word.capitalize() for word in text.split("_"))


def _run(program: str, *arguments: str) -> None:
    subprocess.run([Path(sys.executable).with_name(program), *arguments], cwd=ROOT, check=True)  # noqa: S603 - ours
