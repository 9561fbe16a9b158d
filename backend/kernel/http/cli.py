"""Commands of `flask`: they do what the API does, at once and without a token."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click
from uuid_utils.compat import uuid7

from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Refusal
from backend.kernel.postgres.faults import DatabaseAway

F = TypeVar("F", bound=Callable[..., Any])


def told(command: F) -> F:
    """Say in one line what went wrong; begin a request id that is on every log line and audit entry."""

    @wraps(command)
    def telling(*args: Any, **kwargs: Any) -> None:
        current_origin.set(Origin(request_id=f"cli-{uuid7().hex}"))
        try:
            command(*args, **kwargs)
        except Refusal as refusal:
            reasons = [f"{error.field}: {error.detail}".removeprefix(": ") for error in refusal.errors]
            raise click.ClickException(" ".join(reasons) or refusal.detail) from None
        except DatabaseAway:
            raise click.ClickException("PostgreSQL cannot be reached; see DATABASE_URL.") from None

    return cast("F", telling)
