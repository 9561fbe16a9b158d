"""`flask …` commands for operators. They do what the API does, synchronously and without a token.

A user is named by id or e-mail address. A refusal of the domain ends a command with its reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import click
from environs import Env
from flask.cli import AppGroup
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import (
    ActivateUser,
    CreateAdmin,
    DeactivateUser,
    DeleteUser,
    RequestVerification,
    SetRoles,
    SignOutUser,
)
from backend.contexts.users.application.queries import CountHashes, FindAccount, ListUsers, UserView
from backend.contexts.users.domain import rules
from backend.contexts.users.domain.errors import UserNotFound
from backend.contexts.users.domain.user import PersonName
from backend.contexts.users.infrastructure.passwords import newest_key
from backend.kernel.http.api import api
from backend.kernel.http.cli import reports_refusals, say
from backend.kernel.messages.message import Command
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import email_address
from backend.roles import Role
from backend.settings import Environment

_PAGE = 100


users = AppGroup("users", help="Users: create an administrator, list, activate, deactivate, sign out, set roles.")


@users.command("create-admin")
@click.option("--email", required=True, help="Its e-mail address, which counts as verified.")
@click.option("--name", required=True)
@reports_refusals
def create_admin(email: str, name: str) -> None:
    """Create an administrator. The password comes from ADMIN_PASSWORD, a file (ADMIN_PASSWORD_FILE) or a prompt."""
    given = Environment(Env(), developing=False).private("ADMIN_PASSWORD")
    password = given or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    user_id = uuid7()
    spelled = email_address(email)
    api().bus.execute(CreateAdmin(user_id, PersonName(rules.person_name(name)), spelled, Secret(password)))
    click.echo(f"{user_id}  {spelled}")


@users.command("list")
@click.option("--search", help="The beginning of a name, e-mail address or username.")
@reports_refusals
def list_users(search: str | None) -> None:
    """List users, newest first."""
    for user in _all_users(search):
        state = "active" if user.is_active else "inactive"
        say(f"{user.id}  {user.email}  {user.name}  {state}  {','.join(user.roles) or '-'}")


@users.command("activate")
@click.argument("user")
@reports_refusals
def activate(user: str) -> None:
    """Activate a user."""
    _execute(ActivateUser(_id_of(user)))


@users.command("deactivate")
@click.argument("user")
@reports_refusals
def deactivate(user: str) -> None:
    """Deactivate a user. Every session ends at once."""
    _execute(DeactivateUser(_id_of(user)))


@users.command("set-roles")
@click.argument("user")
@click.argument("roles", nargs=-1, type=click.Choice([role.value for role in Role]))
@reports_refusals
def set_roles(user: str, roles: tuple[str, ...]) -> None:
    """Set a user's ROLES. Without ROLES, remove all of them."""
    _execute(SetRoles(_id_of(user), sorted(set(roles))))


@users.command("sign-out")
@click.argument("user")
@reports_refusals
def sign_out(user: str) -> None:
    """End every session of a user, who may sign in again."""
    _execute(SignOutUser(_id_of(user)))


@users.command("resend-verification")
@click.argument("email")
@reports_refusals
def resend_verification(email: str) -> None:
    """Mail another link to the account that has to verify EMAIL, if any."""
    _execute(RequestVerification(email_address(email)))


@users.command("delete")
@click.argument("chosen", metavar="USER...", nargs=-1, required=True)
@reports_refusals
def delete(chosen: tuple[str, ...]) -> None:
    """Delete each USER, named by id or address. One that does not exist is named and left out."""
    for user in chosen:
        try:
            api().bus.execute(cast("Any", DeleteUser(_id_of(user))))
        except UserNotFound:
            click.echo(f"{user}  does not exist")
        else:
            click.echo(f"{user}  deleted")


@users.command("hashes")
@reports_refusals
def hashes() -> None:
    """Count the password hashes by key and cost.

    A sign-in renews the hash with the newest key and the current cost. Drop an earlier secret key once no hash needs
    it. Users who have not signed in until then have to reset their password.
    """
    newest = newest_key(api().keyring)
    for found in api().bus.ask(CountHashes(), fresh=True):
        age = "newest" if found.key == newest else "earlier"
        click.echo(f"{found.key} ({age})  cost {found.rounds}  {found.accounts}")


def _execute(command: Command) -> None:
    api().bus.execute(cast("Any", command))
    click.echo("Done.")


def _id_of(user: str) -> UUID:
    """The id that was given, or the id of the user who has the address.

    Raises:
        UserNotFound: nobody has the address.
    """
    try:
        return UUID(user)
    except ValueError:
        found = api().bus.ask(FindAccount(email=email_address(user, field="user")), fresh=True)
    if found is None:
        raise UserNotFound
    return found.id


def _all_users(search: str | None) -> Iterator[UserView]:
    after = None
    while True:
        page = api().bus.ask(ListUsers(limit=_PAGE, after=after, q=search), fresh=True)
        yield from page.items
        after = page.after
        if after is None:
            return
