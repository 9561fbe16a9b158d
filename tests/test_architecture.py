"""Each import contract of pyproject.toml is able to fail: one rule is broken, and its contract says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.settings import ROOT

_TABLES = "backend.contexts.users.infrastructure.tables"
WEB_AND_WORKERS = "The web process and the workers import backend, never back"
LAYERS = "Inside a context: infrastructure, application, domain"
PURE = "Domain and application know no framework"
KERNEL = "The kernel knows no context"
CONTEXTS = "Contexts meet only through domain.events and application.queries of the other"

USERS, NEW = "backend/contexts/users", "backend/contexts/orders"
BREAKS = [
    (WEB_AND_WORKERS, "backend/program.py", "import tasks.app"),
    (WEB_AND_WORKERS, "backend/kernel/delivery/dispatch.py", "import wsgi"),
    (LAYERS, f"{USERS}/domain/user.py", "import backend.contexts.users.application.ports"),
    (LAYERS, f"{USERS}/application/handlers.py", "import backend.contexts.users.infrastructure.tables"),
    (LAYERS, f"{USERS}/infrastructure/tables.py", "import backend.contexts.users.context"),
    (LAYERS, f"{NEW}/domain/order.py", "import backend.contexts.orders.application.handlers"),
    (PURE, f"{USERS}/domain/user.py", "import sqlalchemy"),
    (PURE, f"{USERS}/application/handlers.py", "from flask import g"),
    (PURE, f"{USERS}/application/handlers.py", "from celery import current_task"),
    (PURE, "backend/kernel/messages/event.py", "import marshmallow"),
    (PURE, f"{NEW}/application/handlers.py", "import psycopg"),
    (KERNEL, "backend/kernel/messages/event.py", "import backend.contexts.users.domain.events"),
    (KERNEL, "backend/kernel/delivery/relay.py", "import backend.program"),
    (KERNEL, "backend/settings.py", "import backend.contexts.users.infrastructure.settings"),
    (KERNEL, "backend/kernel/http/web.py", "import backend.contexts.orders.domain.order"),
    (CONTEXTS, "backend/contexts/notifications/domain/mail.py", "import backend.contexts.users.domain.user"),
    (CONTEXTS, "backend/contexts/notifications/infrastructure/mail.py", f"import {_TABLES}"),
    (CONTEXTS, f"{NEW}/infrastructure/tables.py", f"import {_TABLES}"),
    (CONTEXTS, f"{USERS}/infrastructure/orders.py", "import backend.contexts.orders.domain.order"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The program's source, with a new context, to be broken."""
    for name in ("backend", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "wsgi.py", "celeryconfig.py"):
        shutil.copy(ROOT / name, tmp_path)
    for module, line in (
        ("domain/order.py", ""),
        ("application/handlers.py", "import backend.contexts.orders.domain.order"),
        ("infrastructure/tables.py", "import backend.contexts.orders.application.handlers"),
        ("context.py", "import backend.contexts.orders.infrastructure.tables"),
    ):
        _append(tmp_path / NEW / module, line)
    return tmp_path


def test_a_new_context_keeps_every_contract_without_a_line_of_its_own(tree: Path) -> None:
    assert "orders" not in (tree / "pyproject.toml").read_text()

    verdict = _lint(tree)

    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize(("contract", "module", "line"), BREAKS)
def test_a_broken_rule_is_told_by_its_contract(tree: Path, contract: str, module: str, line: str) -> None:
    _append(tree / module, line)

    verdict = _lint(tree)

    assert verdict.returncode != 0
    assert f"{contract} BROKEN" in verdict.stdout
    assert module.removesuffix(".py").replace("/", ".") in verdict.stdout


def test_a_framework_behind_a_helper_is_a_framework_all_the_same(tree: Path) -> None:
    _append(tree / "backend/kernel/helper.py", "import kombu")
    _append(tree / "backend/contexts/users/application/handlers.py", "import backend.kernel.helper")

    assert "backend.contexts.users.application is not allowed to import kombu" in _lint(tree).stdout


@pytest.mark.parametrize(
    "module", ["backend.contexts.users.domain.events", "backend.contexts.users.application.queries"]
)
def test_what_a_context_publishes_is_open_to_the_others(tree: Path, module: str) -> None:
    _append(tree / NEW / "application/reactions.py", f"import {module}")

    assert _lint(tree).returncode == 0


def _append(path: Path, line: str) -> None:
    """Add the line to the module, made with its packages when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for package in path.parents[: path.parts[::-1].index("backend") - 1]:
        (package / "__init__.py").touch()
    with path.open("a") as file:
        file.write(f"\n{line}\n")


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(Path(sys.executable).with_name("lint-imports")), "--no-cache"),
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
