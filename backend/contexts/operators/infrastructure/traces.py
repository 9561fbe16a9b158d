"""The timeline of a request, named in any way that an operator has."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from backend.kernel.http.api import api
from backend.kernel.http.operations import Handle
from backend.kernel.keys import BadSignature
from backend.kernel.observe.timeline import Trace, trace


def trace_of(identity: str) -> Trace:
    """The timeline of the request with this id, or with an operation of this handle or id."""
    with api().bus.database.transaction() as connection:
        return trace(connection, identity, _operation_id(identity), api().timeline)


def _operation_id(identity: str) -> UUID | None:
    """From a handle or an id; None when it can only be a request's."""
    with suppress(BadSignature, ValueError):
        return Handle.parse(identity).operation_id
    with suppress(ValueError):
        return UUID(identity)
    return None
