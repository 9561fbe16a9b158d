"""`flask audit`: who did what."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import with_appcontext

from backend.contexts.operators.infrastructure.audit_routes import csv_of
from backend.contexts.operators.infrastructure.printing import UTC_TIME, given, instant, table
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals
from backend.kernel.observe.audit import AuditEntry, entries


@click.command("audit")
@click.option("--actor", type=click.UUID, help="The user who asked.")
@click.option("--about", type=click.UUID, help="The user or resource that was changed.")
@click.option("--action", help="Exactly this action, such as users.delete_user.")
@click.option("--outcome", help="`succeeded`, or the code of a problem.")
@click.option("--request-id", help="The X-Request-ID.")
@click.option("--since", type=UTC_TIME, help="At this time (UTC) or later.")
@click.option("--until", type=UTC_TIME, help="Before this time (UTC).")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--csv", is_flag=True, help="Write every entry as CSV, at most 100,000; --limit does not apply.")
@with_appcontext
@reports_refusals
def audit(*, limit: int, csv: bool, **filters: Any) -> None:
    """List the audit log, newest first."""
    wanted = given(filters)
    if csv:
        for text in csv_of(api().bus, wanted):
            click.echo(text, nl=False)
        return
    page = api().bus.database.read(lambda connection: entries(connection, limit, **wanted), fresh=True)
    table([("AT", "ACTION", "OUTCOME", "ACTOR", "ABOUT", "FROM", "REQUEST", "REASON"), *map(_entry, page.items)])
    if page.after:
        click.echo(f"… and more. Only {limit} are shown: raise --limit, or add a filter.", err=True)


def _entry(entry: AuditEntry) -> tuple[str, ...]:
    rest = (entry.actor, entry.about or entry.detail, entry.ip, entry.request_id, entry.reason)
    return instant(entry.at), entry.action, entry.outcome, *(str(one or "-") for one in rest)
