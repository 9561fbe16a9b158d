"""What the files of the deployment say, and what the code reads."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from backend.program import CONTEXTS
from backend.settings import ROOT, listed

SETTINGS = (
    "backend/settings.py",
    *(f"{context.settings.__module__.replace('.', '/')}.py" for context in CONTEXTS if context.settings),
)
"""The files that declare what may be set."""

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?+])(?P<rest>[^{}]*))?\})")


@cache
def compose() -> dict[str, Any]:
    """docker-compose.yml as written, its anchors resolved."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def services() -> dict[str, dict[str, Any]]:
    return dict(compose()["services"])


def interpolated(value: object, environment: Mapping[str, str]) -> Any:
    """The value with its variables filled in as docker compose does.

    Raises:
        LookupError: a variable that has to be set is not.
    """
    if isinstance(value, dict):
        return {key: interpolated(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, environment) for item in value]
    return _VARIABLE.sub(lambda match: _filled(match, environment), value) if isinstance(value, str) else value


def _filled(match: re.Match[str], environment: Mapping[str, str]) -> str:
    name, kind = match["name"], match["kind"]
    if name is None:
        return "$"
    if kind == "+":
        return match["rest"] if environment.get(name) else ""
    if environment.get(name):
        return environment[name]
    if kind == "-":
        return match["rest"]
    raise LookupError(name)


def variables(value: object) -> dict[str, set[str]]:
    """The variables in a value, each with the ways it is written: `-default`, `?message` or nothing."""
    found: dict[str, set[str]] = {}
    for match in _VARIABLE.finditer(json.dumps(value)):
        if match["name"]:
            found.setdefault(match["name"], set()).add((match["kind"] or "") + (match["rest"] or ""))
    return found


def served_by(service: str) -> tuple[str, ...]:
    """What CONTEXTS says to that service."""
    return listed(services()[service]["environment"]["CONTEXTS"])


def examples() -> dict[str, str]:
    """.env.example: each variable with the value it shows."""
    lines = re.findall(r"^# ([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return dict(lines)


@cache
def defaults() -> dict[str, str]:
    """Each variable that the program reads, with what development takes it to be."""
    read = read_by("backend", "tasks")
    return {name: value for name, value in examples().items() if name in read}


def read_by(*paths: str) -> set[str]:
    """The environment variables that the Python files there read."""
    names = {name for path in _files(*paths) for name in _read_in(ast.parse(path.read_text()))}
    return {name for name in names if re.fullmatch("[A-Z_]+", name)}


def imported_by(*paths: str) -> set[str]:
    """The top-level modules that the Python files there import, or look up for the files they bring."""
    found: set[str] = set()
    for path in _files(*paths):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "find_spec":
                found |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def _files(*paths: str) -> Iterator[Path]:
    for path in paths:
        yield from [ROOT / path] if path.endswith(".py") else sorted((ROOT / path).rglob("*.py"))


def _read_in(tree: ast.AST) -> Iterator[str]:
    """Calls such as `env.int("PORT", 8000)`, `os.environ.get("LANES")`, and `os.environ["LANES"]`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=reader), args=[ast.Constant(value=str() as name), *_]) if (
                "env" in ast.unparse(reader).lower()
            ):
                yield name
            case ast.Subscript(value=reader, slice=ast.Constant(value=str() as name)) if (
                ast.unparse(reader) == "os.environ"
            ):
                yield name


def commands() -> Iterator[list[str]]:
    """Every command line that a container of our image runs, in docker-compose.yml and in the Dockerfile."""
    yield list(json.loads(re.findall(r"^CMD (\[.*?\])$", _dockerfile(), re.MULTILINE | re.DOTALL)[0]))
    for service in services().values():
        if service["image"] == services()["api"]["image"]:
            yield from _simple(service.get("command", []))
            yield from _simple(service.get("healthcheck", {}).get("test", []))


def copied() -> Iterator[str]:
    """What the Dockerfile copies of this directory into the image."""
    for copies in re.findall(r"^COPY (?!--from)(.*)$", _dockerfile(), re.MULTILINE):
        yield from copies.split()[:-1]


def _dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def _simple(command: str | list[str]) -> Iterator[list[str]]:
    """A command without the shell around it."""
    words = shlex.split(command) if isinstance(command, str) else command
    match words:
        case []:
            return
        case ["CMD", *rest]:
            yield rest
        case ["CMD-SHELL", line] | ["sh", "-c", line]:
            for part in line.split("&&"):
                yield shlex.split(part)
        case _:
            yield words
