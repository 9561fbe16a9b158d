"""Generates a context: its files from the templates, and the lines that register it."""

from __future__ import annotations

import builtins
import io
import keyword
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from alembic.util import rev_id

from backend.kernel.postgres.tables import metadata
from backend.settings import ROOT

_TEMPLATES = Path(__file__).with_name("templates")
_SNAKE_CASE = re.compile(r"[a-z]+(_[a-z]+)*")
_LONGEST = 30
"""Characters of a name: it is part of index names, which PostgreSQL truncates at 63."""


class Unsuitable(Exception):
    """The name is not usable, or the tree is not as expected."""


@dataclass(frozen=True)
class NewContext:
    """The names of a context.

    Attributes:
        name: the context, its table and its queues; a plural in snake_case.
        entity: the singular, in snake_case.
    """

    name: str
    entity: str

    def check(self) -> None:
        """Check that both names are free and valid in Python and SQL.

        Raises:
            Unsuitable: they are not.
        """
        for text in (self.name, self.entity):
            if not _SNAKE_CASE.fullmatch(text) or len(text) > _LONGEST:
                raise Unsuitable(f"{text!r} must be snake_case, at most {_LONGEST} lower-case letters and _.")
            if keyword.iskeyword(text) or hasattr(builtins, text) or text in _names_in_templates():
                raise Unsuitable(f"{text!r} has another meaning in the code. Choose another word.")
        if self.name == self.entity:
            raise Unsuitable(f"Singular and plural must differ: name one of the {self.name} with --entity.")
        taken = [ROOT / "backend" / self.name, ROOT / "backend" / f"{self.name}.py", ROOT / "tests" / self.name]
        if any(path.exists() for path in taken) or self.name in metadata.tables:
            raise Unsuitable(f"{self.name!r} exists already.")

    def words(self) -> dict[str, str]:
        """The values of the placeholders in the templates."""
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
    """Write the context's files and register it; returns the new files, then the changed ones.

    Everything is computed before the first file is written.

    Raises:
        Unsuitable: the names are not usable, or the tree is not as expected; nothing was written.
    """
    context.check()
    new, changed = dict(_files(context)), dict(_wiring(context))
    for path, content in {**new, **changed}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    python = [str(path) for path in (*new, *changed) if path.suffix == ".py"]
    _run("ruff", "check", "--quiet", "--fix", "--select", "I", *python)  # the length of a line depends on the names
    _run("ruff", "format", "--quiet", *python)
    _run("python", "-m", "tests.flow.wire")
    return [*new, *changed, ROOT / "tests/flow/wire.json"]


def _files(context: NewContext) -> Iterator[tuple[Path, str]]:
    revision = rev_id()
    words = {**context.words(), "revision": revision}
    spelled = {"CONTEXT": context.name, "ENTITY": context.entity}
    spelled["REVISION"] = f"{datetime.now(UTC):%Y%m%d}_first_tables_{revision}"
    for template in sorted(_TEMPLATES.rglob("*.template")):
        path = str(template.relative_to(_TEMPLATES).with_suffix(""))
        for placeholder, text in spelled.items():
            path = path.replace(placeholder, text)
        yield ROOT / path, Template(template.read_text()).substitute(words)


def _wiring(context: NewContext) -> Iterator[tuple[Path, str]]:
    """Every file that registers the context, with its new content."""
    name, words = context.name, context.words()
    package, camel = f"backend.{name}", words["Context"]

    settings = ROOT / "backend/settings.py"
    yield settings, _with_entry(settings.read_text(), "CONTEXTS = (", f'"{name}",')

    api = ROOT / "backend/kernel/http/web.py"
    text = _with_import(api.read_text(), f"from {package}.infrastructure.routes import blueprint as {name}_routes")
    yield api, _with_entry(text, "_ROUTES = {", f'"{name}": [{name}_routes],')

    bootstrap = ROOT / "backend/program.py"
    text = bootstrap.read_text()
    for line in (
        f"from {package}.application.handlers import handlers as {name}",
        f"from {package}.application.ports import {camel}Ports",
        f"from {package}.infrastructure.queries import queries as {name}_queries",
        f"from {package}.infrastructure.repository import Sql{camel}",
    ):
        text = _with_import(text, line)
    opener = (
        f"def _{name}(_: _Process, unit: UnitOfWork) -> {camel}Ports:\n    return {camel}Ports(Sql{camel}(unit))\n\n\n"
    )
    text = _before(text, "def _now()", opener)
    entry = f"_Context({name}, _{name}, {name}_queries),"
    yield bootstrap, _with_entry(text, "_CONTEXTS: tuple[_Context[Any], ...] = (", entry)

    contracts = ROOT / "pyproject.toml"
    text, layer = contracts.read_text(), re.compile(r'^(    "\(auth\) .*)",$', re.MULTILINE)
    if not layer.search(text):
        raise Unsuitable("pyproject.toml has no layer of contexts that begins with (auth).")
    text = layer.sub(rf'\1 | {name}",', text)
    for published in ("application.queries", "domain.events"):
        text = _with_entry(text, "ignore_imports = [", f'"{package}.** -> backend.*.{published}",')
    yield contracts, text

    compose, catalogue = ROOT / "docker-compose.yml", re.compile(r"^(x-catalogue: &catalogue .*)$", re.MULTILINE)
    text = compose.read_text()
    if not catalogue.search(text):
        raise Unsuitable("docker-compose.yml has no line that begins with x-catalogue.")
    yield compose, catalogue.sub(rf"\1,{name}", text)

    gateway = ROOT / "deploy/gateway.yml"
    route = f'{name}: {{rule: "PathPrefix(`/api/v1/{words["path"]}`)", service: catalogue}}'
    yield gateway, _with_entry(gateway.read_text(), "  routers:", route)


def _with_import(text: str, line: str) -> str:
    return text if line in text else _before(text, "from backend.settings import", f"{line}\n")


def _before(text: str, line: str, addition: str) -> str:
    at = text.find(f"\n{line}") + 1
    if at == 0:
        raise Unsuitable(f"No line begins with {line!r}; an addition belongs before it.")
    return text[:at] + addition + text[at:]


def _with_entry(text: str, opening: str, entry: str) -> str:
    """The text with one more line in the block that begins with the line `opening`, in order."""
    lines = text.splitlines(keepends=True)
    start = next((number for number, line in enumerate(lines) if line.startswith(opening)), None)
    if start is None:
        raise Unsuitable(f"No line begins with {opening!r}; an addition belongs below it.")
    first = lines[start + 1]
    indentation = first[: len(first) - len(first.lstrip())]
    new = f"{indentation}{entry}\n"
    at = start + 1
    while lines[at].startswith(indentation) and lines[at] < new:
        at += 1
    return "".join([*lines[:at], new, *lines[at:]])


def _names_in_templates() -> set[str]:
    """Every name in the code of the templates: a context of that name would hide it."""
    words = dict.fromkeys([*NewContext("", "x").words(), "revision"], "x")
    sources = [Template(path.read_text()).substitute(words) for path in _TEMPLATES.rglob("*.template")]
    tokens = (token for source in sources for token in tokenize.generate_tokens(io.StringIO(source).readline))
    return {token.string for token in tokens if token.type == tokenize.NAME}


def _camel_case(text: str) -> str:
    return "".join(word.capitalize() for word in text.split("_"))


def _run(program: str, *arguments: str) -> None:
    subprocess.run([Path(sys.executable).with_name(program), *arguments], cwd=ROOT, check=True)  # noqa: S603 - ours
