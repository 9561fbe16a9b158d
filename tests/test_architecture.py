"""Each import contract of pyproject.toml is able to fail: one rule is broken, and its contract says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.settings import ROOT

WEB_AND_WORKERS = "The web process and the workers import backend, never back"
LAYERS = "Inside a context: infrastructure, application, domain"
PURE = "Domain and application know no framework"
CONTEXTS = "Contexts meet only through domain.events and application.queries of the other"

BREAKS = [
    (WEB_AND_WORKERS, "backend/program.py", "import tasks.app"),
    (WEB_AND_WORKERS, "backend/kernel/delivery/bus.py", "import wsgi"),
    (LAYERS, "backend/contexts/users/domain/user.py", "import backend.contexts.users.application.ports"),
    (LAYERS, "backend/contexts/users/application/handlers.py", "import backend.contexts.users.infrastructure.tables"),
    (LAYERS, "backend/kernel/messages/event.py", "import backend.kernel.messages.message"),
    (PURE, "backend/contexts/users/domain/user.py", "import sqlalchemy"),
    (PURE, "backend/contexts/users/application/handlers.py", "from flask import g"),
    (PURE, "backend/contexts/users/application/handlers.py", "from celery import current_task"),
    (CONTEXTS, "backend/kernel/messages/event.py", "import backend.contexts.users.domain.events"),
    (CONTEXTS, "backend/contexts/notifications/domain/mail.py", "import backend.contexts.users.domain.user"),
    (
        CONTEXTS,
        "backend/contexts/notifications/infrastructure/mail.py",
        "import backend.contexts.users.infrastructure.tables",
    ),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The program's source, to be broken."""
    for name in ("backend", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "wsgi.py", "celeryconfig.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("contract", "module", "line"), BREAKS)
def test_a_broken_rule_is_told_by_its_contract(tree: Path, contract: str, module: str, line: str) -> None:
    _append(tree / module, line)

    verdict = _lint(tree)

    assert verdict.returncode != 0
    assert f"{contract} BROKEN" in verdict.stdout


def test_a_framework_behind_a_helper_is_a_framework_all_the_same(tree: Path) -> None:
    _append(tree / "backend/shared/application/helper.py", "import kombu")
    _append(tree / "backend/contexts/users/application/handlers.py", "import backend.shared.application.helper")

    assert "backend.contexts.users.application is not allowed to import kombu" in _lint(tree).stdout


def test_a_context_that_no_contract_knows_is_told(tree: Path) -> None:
    _append(tree / "backend/orders/__init__.py", "")

    verdict = _lint(tree)

    assert verdict.returncode != 0
    assert "orders" in verdict.stdout


@pytest.mark.parametrize(
    "module", ["backend.contexts.users.domain.events", "backend.contexts.users.application.queries"]
)
def test_what_a_context_publishes_is_open_to_the_others(tree: Path, module: str) -> None:
    _append(tree / "backend/contexts/notifications/application/reactions.py", f"import {module}")

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
