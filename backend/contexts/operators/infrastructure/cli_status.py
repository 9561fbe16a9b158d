"""`flask status`: the state of the program."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from backend.contexts.operators.infrastructure.status import status_view
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals


@click.command("status")
@with_appcontext
@reports_refusals
def status() -> None:
    """Show what needs attention: one warning in each line."""
    found = status_view(api().bus)
    click.echo(f"outbox: {found.outbox.rows} messages, the oldest {found.outbox.oldest_seconds:.0f} s old")
    click.echo(f"dead letters: {found.dead_letters} open")
    for warning in found.warnings:
        click.echo("  ".join(filter(None, (warning.code, warning.about, warning.detail))))
    click.echo(f"{len(found.warnings) or 'no'} warnings")
