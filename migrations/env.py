"""How Alembic reaches the database and which tables it compares it with."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from alembic import context

import backend.program  # noqa: F401 - imports every context's tables into the metadata
from backend.kernel.postgres.tables import metadata
from backend.settings import load_settings

# Whoever waits for a table's lock makes every later query of that table wait too: give up instead, and try again.
LOCK_TIMEOUT = "5s"


def run() -> None:
    """Migrate the database of the settings, or of the `database_url` attribute that a test gives."""
    url = context.config.attributes.get("database_url") or load_settings().database_url
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=sa.NullPool,
        hide_parameters=True,
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        context.configure(connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


def run_offline() -> None:
    """Print the SQL for a review or for an operator who applies it (`alembic upgrade head --sql`)."""
    context.configure(
        dialect_name="postgresql", target_metadata=metadata, transaction_per_migration=True, literal_binds=True
    )
    with context.begin_transaction():
        context.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        context.run_migrations()


if context.config.cmd_opts is not None:  # run as a program, not from a test
    logging.basicConfig(level=logging.INFO, format="%(message)s")

if context.is_offline_mode():
    run_offline()
else:
    run()
