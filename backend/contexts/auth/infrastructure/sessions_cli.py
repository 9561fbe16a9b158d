"""`flask sessions`: where a user is signed in."""

from __future__ import annotations

from uuid import UUID

import click
from flask.cli import with_appcontext

from backend.contexts.auth.application.queries import ListSessions
from backend.contexts.users.application.queries import FindAccount, GetAccount
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals, say
from backend.kernel.messages.values import email_address

_NO_SESSION = UUID(int=0)


@click.command("sessions")
@click.argument("user")
@with_appcontext
@reports_refusals
def sessions(user: str) -> None:
    """List the sessions of a USER, named by id or e-mail address, the most recently used first."""
    for one in api().bus.ask(ListSessions(_id_of(user), _NO_SESSION), fresh=True):
        used = one.last_used_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        say(f"{one.id}  used {used}  {one.ip or '-'}  {one.user_agent or '-'}")


def _id_of(user: str) -> UUID:
    query = FindAccount(email=email_address(user, field="user")) if "@" in user else GetAccount(_uuid(user))
    found = api().bus.ask(query, fresh=True)
    if found is None:
        raise click.ClickException("The user does not exist.")
    return found.id


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise click.ClickException("USER is an id or an e-mail address.") from None
