"""Alembic's environment: the database, the tables to compare it with, and the folder of a new revision."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import context
from alembic.operations.ops import MigrationScript
from alembic.util import CommandError

import backend.program  # noqa: F401 - imports every context's tables into the metadata
from backend.kernel.postgres.connecting import BEHIND_A_POOLER, UnfitDatabase, parameters_of, prepare
from backend.kernel.postgres.tables import metadata
from backend.settings import load_settings

# While a migration waits for a table's lock, every later query of that table waits too. Give up and retry instead.
LOCK_TIMEOUT = "5s"
SETTINGS = {"lock_timeout": LOCK_TIMEOUT, "timezone": "UTC"}


def run() -> None:
    """Migrate the database of the settings, or of the attribute `database_url` that a test sets."""
    url = context.config.attributes.get("database_url") or configured_url()
    engine = sa.create_engine(
        "postgresql+psycopg://", connect_args=parameters_of(url), poolclass=sa.NullPool, hide_parameters=True
    )
    sa.event.listen(engine, "connect", prepare_for_migrations)
    with engine.connect() as connection:
        partitions = partitions_in(connection)
        context.configure(
            connection,
            target_metadata=metadata,
            include_name=lambda name, *_: name not in partitions,
            transaction_per_migration=True,
            process_revision_directives=write_below_its_owner,
        )
        with context.begin_transaction():
            context.run_migrations()


def partitions_in(connection: sa.Connection) -> set[str]:
    """The partitions of tables. The maintenance makes and drops them, not migrations."""
    found = connection.scalars(sa.text("select relname from pg_class where relispartition and relkind = 'r'"))
    names = {str(name) for name in found}
    connection.rollback()
    return names


def configured_url() -> str:
    """The server itself, if the program works through a pooler."""
    settings = load_settings()
    context.config.attributes["direct"] = bool(settings.database_direct_url)
    return settings.database_direct_url or settings.database_url


def prepare_for_migrations(connection: psycopg.Connection[Any], _record: object) -> None:
    """Set what applies to the whole run. A pooler would drop it after the first transaction."""
    try:
        if prepare(connection, SETTINGS) and not context.config.attributes.get("direct"):
            raise CommandError(BEHIND_A_POOLER)
    except UnfitDatabase as unfit:
        raise CommandError(str(unfit)) from None


def run_offline() -> None:
    """Print the SQL for a review or for an operator who applies it (`alembic upgrade heads --sql`)."""
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # the driver's own dialect would print % as %%
        target_metadata=metadata,
        transaction_per_migration=True,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        context.run_migrations()


def write_below_its_owner(_: Any, __: Any, revisions: list[MigrationScript]) -> None:
    """Write a new revision to the folder of its branch.

    Raises:
        CommandError: it starts a branch without a name.
    """
    (revision,) = revisions
    script = context.script
    if revision.head == "head" and len(script.get_heads()) > 1:
        return  # `alembic check` writes nothing, and `alembic revision` requires a head
    continued = script.get_revisions(revision.head or "head")
    owner = Path(continued[0].path).parent.name if continued else revision.branch_label
    if not owner:
        raise CommandError("The first revision of an owner needs --branch-label OWNER")
    script.file_template = f"{owner}/{script.file_template}"


if context.config.cmd_opts is not None:  # run as a program, not from a test
    logging.basicConfig(level=logging.INFO, format="%(message)s")

if context.is_offline_mode():
    run_offline()
else:
    run()
