"""Commands of `flask`: they do what the API does, synchronously and without a token."""

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


def reports_refusals(command: F) -> F:
    """Report a refusal in one line. Start a request id, which every log line and audit entry carries."""

    @wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> None:
        current_origin.set(Origin(request_id=f"cli-{uuid7().hex}"))
        try:
            command(*args, **kwargs)
        except Refusal as refusal:
            reasons = [f"{error.field}: {error.detail}".removeprefix(": ") for error in refusal.errors]
            raise click.ClickException(" ".join(reasons) or refusal.detail) from None
        except DatabaseAway:
            raise click.ClickException("PostgreSQL cannot be reached; see DATABASE_URL.") from None

    return cast("F", reporting)
