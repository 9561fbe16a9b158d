from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql

from backend.kernel.postgres.connecting import parameters_of
from backend.program import CONTEXTS
from backend.settings import ROOT
from tests.postgres import alembic_config, database_beside

_SCRIPTS = ScriptDirectory.from_config(alembic_config(""))
_OWNERS = sorted({path.parent.name for path in (ROOT / "migrations").glob("*/*.py")})


@pytest.fixture
def empty_database(database_url: str) -> Iterator[str]:
    with database_beside(database_url, "migrations_test") as url:
        yield url


def test_the_migrations_build_the_tables_that_the_code_declares(database_url: str) -> None:
    command.check(alembic_config(database_url))


def test_every_migration_can_be_taken_back_and_applied_again(empty_database: str) -> None:
    config = alembic_config(empty_database)
    command.upgrade(config, "heads")
    tables = _relations(empty_database)

    command.downgrade(config, "base")
    assert _relations(empty_database) == {"alembic_version", "alembic_version_pkc"}

    command.upgrade(config, "heads")
    assert _relations(empty_database) == tables


@pytest.mark.parametrize("owner", _OWNERS)
def test_one_owner_can_be_taken_back_without_the_others(owner: str, empty_database: str) -> None:
    config = alembic_config(empty_database)
    command.upgrade(config, "heads")
    tables = _relations(empty_database)

    command.downgrade(config, f"{owner}@base")
    assert _relations(empty_database) < tables

    command.upgrade(config, "heads")
    assert _relations(empty_database) == tables


def test_a_database_of_the_earlier_release_is_migrated_in_place_and_keeps_every_row(earlier_database: str) -> None:
    config = alembic_config(earlier_database)
    rows = _rows(earlier_database)

    command.upgrade(config, "heads")

    command.check(config)
    assert _rows(earlier_database).items() >= rows.items()
    assert _without_search_keys(earlier_database) == 0


@pytest.mark.parametrize(("which", "revision"), [("empty_database", "heads"), ("earlier_database", "0001:heads")])
def test_the_printed_sql_does_what_the_migrations_do(
    which: str, revision: str, database_url: str, request: pytest.FixtureRequest
) -> None:
    """For operators who apply it by hand."""
    url = request.getfixturevalue(which)
    printed = io.StringIO()
    command.upgrade(Config(ROOT / "alembic.ini", output_buffer=printed), revision, sql=True)

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in printed.getvalue().split(";\n\n"):  # one by one, as psql does
            connection.execute(statement.encode())

    command.check(alembic_config(url))
    assert _relations(url) == _relations(database_url)


def test_each_folder_is_the_branch_of_its_owner() -> None:
    """A context is dropped with its folder: nothing of it lies elsewhere, and its branch has one end."""
    for revision in _SCRIPTS.walk_revisions():
        assert revision.branch_labels == {Path(revision.path).parent.name}
    ends = [label for head in _SCRIPTS.get_heads() for label in _SCRIPTS.get_revision(head).branch_labels]
    assert sorted(ends) == _OWNERS


def test_a_generated_migration_lies_with_its_owner_and_passes_the_gates(empty_database: str, tmp_path: Path) -> None:
    config = alembic_config(empty_database)
    config.set_main_option("version_locations", str(tmp_path / "migrations"))
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command.upgrade(config, "heads")
    _drop_every_table(empty_database)

    command.revision(config, "Everything anew", autogenerate=True, head="kernel@head")

    (generated,) = (tmp_path / "migrations/kernel").glob("*_everything_anew_*.py")
    for gate in ("ruff check", "ruff format --check"):
        subprocess.run([sys.executable, "-m", *gate.split(), "--no-cache", generated], cwd=tmp_path, check=True)
    command.upgrade(config, "heads")
    command.check(config)


def test_the_first_migration_of_an_owner_begins_its_folder(empty_database: str, tmp_path: Path) -> None:
    config = alembic_config(empty_database)
    config.set_main_option("version_locations", str(tmp_path))

    command.revision(config, "First tables", head="base", branch_label="wishlists")

    (revision,) = ScriptDirectory.from_config(config).get_revisions("wishlists@head")
    assert Path(revision.path).parent == tmp_path / "wishlists"


def _without_search_keys(url: str) -> int:
    """Rows that a search would miss."""
    engine = sa.create_engine(
        "postgresql+psycopg://", connect_args=parameters_of(url), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        return sum(keys.rebuild(connection) for context in CONTEXTS for keys in context.search_keys)


def _relations(url: str) -> set[str]:
    """Without the partitions of a certain time, which a purge makes and drops."""
    with psycopg.connect(url) as connection:
        relations = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname !~ '_[0-9]{8}(_|$)'"
        )
        return {name for (name,) in relations}


def _drop_every_table(url: str) -> None:
    with psycopg.connect(url) as connection:
        for name in _tables(connection):
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def _rows(url: str) -> dict[str, int]:
    """How many each table has."""
    with psycopg.connect(url) as connection:
        return {
            name: connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(name))).rowcount
            for name in _tables(connection)
        }


def _tables(connection: psycopg.Connection) -> list[str]:
    """Every one but Alembic's own."""
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return [name for (name,) in tables if name != "alembic_version"]
