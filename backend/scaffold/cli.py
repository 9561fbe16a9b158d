"""`flask new …`: generators for developers."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from backend.scaffold.context import NewContext, Unsuitable, create
from backend.settings import ROOT

new = AppGroup("new", help="Generate code in this source tree.")


@new.command("context")
@click.argument("name")
@click.option("--entity", help="The singular of NAME; by default NAME without its last s.")
def new_context(name: str, entity: str | None) -> None:
    """Generate a context called NAME, a plural in snake_case such as `order_items`.

    It has a table, a migration, two commands, two queries, two events and tests, and passes the linters
    and the tests as it is. docs/extending.md continues from there.
    """
    try:
        written = create(NewContext(name, entity or name.removesuffix("s")))
    except Unsuitable as reason:
        raise click.ClickException(str(reason)) from None
    for path in written:
        click.echo(path.relative_to(ROOT))
    click.echo("\nNext: alembic upgrade heads, make check, docs/extending.md")
