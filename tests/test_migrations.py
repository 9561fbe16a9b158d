from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command

from tests.postgres import alembic_config


@pytest.fixture
def empty_database(database_url: str) -> Iterator[str]:
    """A database beside the other: migrating back and forth there disturbs no other test."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS migrations_test")
        connection.execute("CREATE DATABASE migrations_test")
        yield _beside(database_url, "migrations_test")
        connection.execute("DROP DATABASE migrations_test")


def test_the_migrations_build_the_tables_that_the_code_declares(database_url: str) -> None:
    command.check(alembic_config(database_url))


def test_every_migration_can_be_taken_back_and_applied_again(empty_database: str) -> None:
    config = alembic_config(empty_database)
    command.upgrade(config, "head")
    tables = _relations(empty_database)

    command.downgrade(config, "base")
    assert _relations(empty_database) == {"alembic_version", "alembic_version_pkc"}

    command.upgrade(config, "head")
    assert _relations(empty_database) == tables


def _beside(url: str, name: str) -> str:
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


def _relations(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        relations = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        return {name for (name,) in relations}
