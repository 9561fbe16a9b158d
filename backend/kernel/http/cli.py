"""Commands of `flask`: they do what the API does, synchronously and without a token."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable
from functools import wraps
from getpass import getuser
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from flask.cli import with_appcontext
from uuid_utils.compat import uuid7

from backend.kernel.http.api import api
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Refusal
from backend.kernel.messages.values import escaped
from backend.kernel.postgres.faults import MIGRATIONS_MISSING, DatabaseAway, is_database_away, lacks_migrations

if TYPE_CHECKING:
    from backend.kernel.postgres.search_keys import SearchKeys

F = TypeVar("F", bound=Callable[..., Any])


def reports_refusals(command: F) -> F:
    """Report a refusal in one line. Start a request id, which every log line and audit entry carries.

    Entries name the machine and its user: whoever works there needs no account.
    """

    @wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> None:
        token = current_origin.set(Origin(request_id=f"cli-{uuid7().hex}", ip=_user_and_host()))
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it warns of every attempt: one sentence is enough
        try:
            command(*args, **kwargs)
        except Refusal as refusal:
            reasons = [f"{error.field}: {error.detail}".removeprefix(": ") for error in refusal.errors]
            raise click.ClickException(" ".join(reasons) or refusal.detail) from None
        except Exception as error:
            sentence = _about_the_database(error)
            if sentence is None:
                raise
            raise click.ClickException(sentence) from None
        finally:
            current_origin.reset(token)

    return cast("F", reporting)


def say(line: str) -> None:
    """Print a line, its control characters as escapes: whoever reaches the broker could send some to the terminal."""
    click.echo(escaped(line))


def _user_and_host() -> str:
    try:
        user = os.environ.get("SUDO_USER") or getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _about_the_database(error: Exception) -> str | None:
    if lacks_migrations(error):
        return MIGRATIONS_MISSING
    if isinstance(error, DatabaseAway):
        return f"{error}."
    return f"{DatabaseAway(error)}." if is_database_away(error) else None


def rebuilding(every: Iterable[SearchKeys]) -> click.Command:
    """`flask search-keys`, for the search keys of every context."""

    @click.command("search-keys")
    @with_appcontext
    @reports_refusals
    def search_keys() -> None:
        """Compute again what searches compare, where it is missing or out of date. It may run at any time."""
        with api().bus.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for keys in every:
                click.echo(f"{keys.table}: {keys.rebuild(connection)} rows changed")

    return search_keys
