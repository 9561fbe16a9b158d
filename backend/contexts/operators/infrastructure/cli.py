"""`flask dead-letters …` and `flask trace`: the operators' commands. They need no token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import click
import msgspec
from flask.cli import AppGroup, with_appcontext

from backend.contexts.operators.application.commands import (
    DiscardDeadLetter,
    DiscardGroup,
    Group,
    ReplayDeadLetter,
    ReplayGroup,
)
from backend.contexts.operators.infrastructure import dead_letters
from backend.contexts.operators.infrastructure.dead_letters import DeadLetterSummary
from backend.contexts.operators.infrastructure.printing import REASON, instant
from backend.contexts.operators.infrastructure.traces import trace_of, trace_of_address
from backend.kernel.delivery.dead_letters import Reason, State
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals, say

F = TypeVar("F", bound=Callable[..., Any])
# Values: of an enum, click would take the names of its members.
_REASONS = [reason.value for reason in Reason]
_STATUSES = [*(state.value for state in State), "all"]


def _filters(command: F) -> F:
    for option in (
        click.option("--error", help="Exactly this type of exception."),
        click.option("--reason", type=click.Choice(_REASONS)),
        click.option("--task", help="Exactly this task, such as users.create_user."),
    ):
        command = option(command)
    return command


letters = AppGroup("dead-letters", help="Messages that could not be processed: list, show, replay, discard.")


@letters.command("list")
@_filters
@click.option("--status", type=click.Choice(_STATUSES), default=State.OPEN.value, show_default=True)
@click.option("--groups", is_flag=True, help="Count them by task, reason and error.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@reports_refusals
def list_letters(*, status: str, groups: bool, limit: int, **filters: str | None) -> None:
    """List dead letters, the most recent first."""
    asked: dict[str, Any] = {**filters, "status": None if status == "all" else status}
    given = {name: value for name, value in asked.items() if value is not None}
    read = api().bus.database.read
    if groups:
        for group in read(lambda connection: dead_letters.groups(connection, **given)):
            times = f"{instant(group.first_dead_at)} to {instant(group.last_dead_at)}"
            say("  ".join((f"{group.number:>6}", group.task or "-", group.reason, group.error or "-", times)))
        return
    page = read(lambda connection: dead_letters.listing(connection, limit, **given))
    for letter in page.items:
        say(_line(letter))
    if page.after:
        click.echo(f"… and more. Only {limit} are shown: raise --limit, or add a filter.", err=True)


@letters.command("show")
@click.argument("dead_letter", type=click.UUID)
@reports_refusals
def show(dead_letter: UUID) -> None:
    """Show a DEAD_LETTER in full, as JSON. Secrets are masked."""
    found = api().bus.database.read(lambda connection: dead_letters.dead_letter(connection, dead_letter), fresh=True)
    for line in msgspec.json.format(msgspec.json.encode(found)).decode().split("\n"):
        say(line)


@letters.command("replay")
@click.argument("chosen", metavar="[DEAD_LETTER]...", type=click.UUID, nargs=-1)
@_filters
@reports_refusals
def replay(*, chosen: tuple[UUID, ...], **filters: str | None) -> None:
    """Deliver messages again: each DEAD_LETTER, or the open ones of the group that the options select."""
    if bool(chosen) == any(filters.values()):
        raise click.UsageError("Name either dead letters or a group.")
    if chosen:
        for dead_letter in chosen:
            api().bus.execute(ReplayDeadLetter(dead_letter))
            click.echo(f"{dead_letter}  replayed")
        return
    done = api().bus.execute(ReplayGroup(Group(**filters)))
    click.echo(f"{done.replayed} replayed, {done.remaining} of the group are still open")


@letters.command("discard")
@click.argument("chosen", metavar="[DEAD_LETTER]...", type=click.UUID, nargs=-1)
@click.option("--task", help="Exactly this task, such as users.create_user.")
@click.option("--cause", type=click.Choice(_REASONS), help="Why they were given up.")
@click.option("--error", help="Exactly this type of exception.")
@click.option("--reason", required=True, type=REASON, help="Why they will not be processed.")
@reports_refusals
def discard(*, chosen: tuple[UUID, ...], reason: str, cause: str | None, **filters: str | None) -> None:
    """Settle messages without a replay: each open DEAD_LETTER, or those of the group that the options select."""
    group = Group(**filters, reason=cause)
    if bool(chosen) == any(vars(group).values()):
        raise click.UsageError("Name either dead letters or a group.")
    if not chosen:
        click.echo(f"{api().bus.execute(DiscardGroup(group, reason))} discarded")
    for dead_letter in chosen:
        api().bus.execute(DiscardDeadLetter(dead_letter, reason))
        click.echo(f"{dead_letter}  discarded")


@click.command("trace")
@click.argument("identity", metavar="[OPERATION_OR_REQUEST]", default="")
@click.option("--address", default="", help="The requests whose messages contain this e-mail address, instead.")
@with_appcontext
@reports_refusals
def trace(*, identity: str, address: str) -> None:
    """Show a timeline of everything a request caused.

    Name the request by the handle or the id of one of its operations, or by its X-Request-ID.
    """
    if bool(identity) == bool(address):
        raise click.UsageError("Name either an operation or request, or an address.")
    found = trace_of_address(address) if address else trace_of(identity)
    for request_id in found.request_ids:
        click.echo(f"request {request_id}")
    for step in found.steps:
        say(f"{instant(step.at)}  {step.what:<11}  {step.subject:<32}  {step.detail}")
    click.echo(f"note: {found.unknown}")


def _line(letter: DeadLetterSummary) -> str:
    parts = (
        str(letter.id),
        instant(letter.last_dead_at),
        letter.status,
        f"{letter.times}x",
        letter.task or "-",
        letter.reason,
        letter.error or "-",
        letter.note or "",
    )
    return "  ".join(parts).rstrip()
