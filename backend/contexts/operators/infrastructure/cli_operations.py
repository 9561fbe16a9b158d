"""`flask operations …`: the operations of all users."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import click
from flask.cli import AppGroup

from backend.contexts.operators.infrastructure.operation_routes import LONGEST_WINDOW
from backend.contexts.operators.infrastructure.printing import UTC_TIME, given, instant, table
from backend.contexts.operators.infrastructure.statistics import CommandStatistics, of_commands
from backend.kernel.delivery.inbox import Status
from backend.kernel.delivery.operations import PENDING, ListedOperation, listed
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals
from backend.kernel.http.operations import Handle, cancel, command_names
from backend.kernel.keys import BadSignature
from backend.kernel.messages.origin import current_origin

operations = AppGroup("operations", help="Commands and their outcomes: list, statistics, cancel.")


@operations.command("list")
@click.option("--id", type=click.UUID)
@click.option("--status", type=click.Choice([PENDING, *(status.value for status in Status)]))
@click.option("--command", help="Exactly this command, such as users.create_user.")
@click.option("--actor", type=click.UUID, help="The user who sent it.")
@click.option("--resource", help="Exactly this resource, such as /api/v1/users/<id>.")
@click.option("--request-id", help="The X-Request-ID.")
@click.option("--since", type=UTC_TIME, help="Finished at this time (UTC) or later.")
@click.option("--until", type=UTC_TIME, help="Finished before this time (UTC).")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@reports_refusals
def list_operations(limit: int, **filters: Any) -> None:
    """List operations that have an outcome or wait in the outbox, newest first."""
    names, wanted = command_names(), given(filters)
    page = api().bus.database.read(lambda connection: listed(connection, names, limit, **wanted), fresh=True)
    table([("AT", "STATUS", "COMMAND", "TOOK", "ACTOR", "REQUEST", "ID"), *map(_operation, page.items)])
    if page.after:
        click.echo(f"… and more. Only {limit} are shown: raise --limit, or add a filter.", err=True)


@operations.command("stats")
@click.option("--minutes", type=click.IntRange(1, LONGEST_WINDOW), default=60, show_default=True)
@reports_refusals
def statistics(*, minutes: int) -> None:
    """Show by command how many ended how, why they failed, and the time from acceptance to outcome."""
    names, window = command_names(), timedelta(minutes=minutes)
    found = api().bus.database.read(lambda connection: of_commands(connection, names, window), fresh=True)
    click.echo(f"since {instant(found.since)}")
    table([("COMMAND", "SUCCEEDED", "FAILED", "P50", "P95", "PROBLEMS"), *map(_statistics, found.items)])


@operations.command("cancel")
@click.argument("handle")
@reports_refusals
def cancel_operation(*, handle: str) -> None:
    """End the operation with this HANDLE as failed, unless a worker has finished it."""
    try:
        cancel(Handle.parse(handle), current_origin.get().request_id)
    except (BadSignature, ValueError):
        raise click.ClickException("No operation has this handle.") from None
    click.echo("cancelled")


def _operation(one: ListedOperation) -> tuple[str, ...]:
    took = (one.finished_at - one.accepted_at).total_seconds() if one.finished_at and one.accepted_at else None
    code = f" {one.problem['code']}" if one.problem else ""
    ends = (instant(one.at), f"{one.status}{code}", one.name, "-" if took is None else f"{took:.3f} s")
    return *ends, _or_dash(one.actor), _or_dash(one.request_id), str(one.id)


def _statistics(one: CommandStatistics) -> tuple[str, ...]:
    seconds = ("-" if time is None else f"{time:.3f} s" for time in (one.p50, one.p95))
    problems = ", ".join(f"{number} {code}" for code, number in one.problems.items())
    return one.command, str(one.succeeded), str(one.failed), *seconds, problems or "-"


def _or_dash(value: UUID | str | None) -> str:
    return str(value or "-")
