"""`flask after-restore`: what has to be done once after PostgreSQL was restored to an earlier state."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from backend.kernel.delivery import restores
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals
from backend.kernel.observe import audit


@click.command("after-restore")
@with_appcontext
@reports_refusals
def after_restore() -> None:
    """Make a restored database safe to use. Run it once, before the API and the workers start.

    Operations without an outcome that were accepted before now read `unknown_after_restore`. Every session ends. See
    docs/runbooks/restore.md for the rest, such as deletions that have to be repeated.
    """
    with api().bus.database.transaction() as connection:
        restores.note(connection)
        done = [repair(connection) for repair in api().after_restore]
        audit.write(connection, "database.restored", None, "succeeded")
    for sentence in ("Operations without an outcome are unknown", *done):
        click.echo(f"{sentence}.")
