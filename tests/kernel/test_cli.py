"""What `flask` says when it cannot do what was asked: one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.settings import ROOT
from tests.postgres import database_beside
from tests.worker import Program, environment

_AWAY = "postgresql://nobody@127.0.0.1:1/none"


_SHOWING_WHAT_IS_OPEN = """
import atexit, threading
atexit.register(lambda: print([thread.name for thread in threading.enumerate() if thread.name.startswith("pool-")]))
from flask.cli import main
main()
"""


def _said(
    database: str, directory: Path, *command: str, program: tuple[str, ...] = ("flask",)
) -> tuple[int, list[str]]:
    settings = environment(
        DATABASE_URL=database, FLASK_APP="wsgi", MAIL_URL=f"file:{directory}", PYTHONWARNINGS="ignore"
    )
    with Program("flask", *program, *command, environment=settings, directory=ROOT) as started:
        return started.ended(), started.logs().splitlines()


@pytest.mark.parametrize("command", [["users", "list"], ["users", "activate", "ada@example.com"], ["search-keys"]])
def test_that_the_database_is_away_is_said_in_one_line(tmp_path: Path, command: list[str]) -> None:
    assert _said(_AWAY, tmp_path, *command) == (1, ["Error: PostgreSQL cannot be reached; see DATABASE_URL."])


@pytest.mark.parametrize("command", [["users", "list"], ["users", "activate", "ada@example.com"]])
def test_that_the_database_is_not_migrated_is_said_in_one_line(
    tmp_path: Path, database_url: str, command: list[str]
) -> None:
    with database_beside(database_url, "not_migrated") as empty:
        said = _said(empty, tmp_path, *command)
    assert said == (1, ["Error: The database is older than this code: run `alembic upgrade heads`."])


def test_a_command_closes_its_connections(tmp_path: Path, database_url: str) -> None:
    """Python 3.14 writes a traceback for a pool that is still open when it ends."""
    python = ("python", "-c", _SHOWING_WHAT_IS_OPEN)
    code, lines = _said(database_url, tmp_path, "users", "list", program=python)
    assert (code, lines[-1]) == (0, "[]")
