"""`flask status` and `flask about`."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from backend.contexts.operators.infrastructure.about import about_view
from backend.contexts.operators.infrastructure.status import status_view
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals, say


@click.command("status")
@with_appcontext
@reports_refusals
def status() -> None:
    """Show what needs attention: one warning in each line."""
    found = status_view(api().bus)
    click.echo(f"outbox: {found.outbox.rows} messages, the oldest {found.outbox.oldest_seconds:.0f} s old")
    click.echo(f"dead letters: {found.dead_letters} open")
    for warning in found.warnings:
        say("  ".join(filter(None, (warning.code, warning.about, warning.detail))))
    click.echo(f"{len(found.warnings) or 'no'} warnings")


@click.command("about")
@with_appcontext
@reports_refusals
def about() -> None:
    """Show what runs: version, commit, contexts, limits, the ids of the keys, migrations."""
    found = about_view(api().bus)
    click.echo(f"version     {found.version}, commit {found.commit or 'unknown'}, {found.environment}")
    click.echo(f"contexts    {', '.join(found.contexts)}")
    click.echo(f"keys        {', '.join(f'{key.id} {key.use}' for key in found.keys)}")
    click.echo(f"migrations  {_migrations(found.migrations_pending, found.migrations_unknown)}")
    for name, value in found.limits.items():
        click.echo(f"limit       {name} = {value}")


def _migrations(pending: list[str], unknown: list[str]) -> str:
    parts = ((pending, "pending"), (unknown, "unknown to this code"))
    told = [f"{', '.join(revisions)} {kind}" for revisions, kind in parts if revisions]
    return "; ".join(told) or "all applied"
