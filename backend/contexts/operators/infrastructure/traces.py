"""The timeline of a request, named in any way that an operator has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from backend.contexts.operators.infrastructure.lanes import lane_view
from backend.kernel.delivery import pauses
from backend.kernel.delivery.addresses import requests_about
from backend.kernel.http.api import api
from backend.kernel.http.operations import Handle
from backend.kernel.keys import BadSignature
from backend.kernel.messages.values import email_address
from backend.kernel.observe import timeline
from backend.kernel.observe.timeline import Step, Trace

_WITHOUT_OUTCOME = """\
no outcome is stored: the message waits in this lane, or a worker has just taken it, or it was lost with a broker. \
Its place in the lane cannot be known: RabbitMQ does not show single messages"""
_ABOUT_ADDRESSES = """\
not visible by address: commands that still wait in the broker for their first try, and what is older than 30 days"""


def trace_of(identity: str) -> Trace:
    """The timeline of the request with this id, or with an operation of this handle or id."""
    with api().bus.database.transaction() as connection:
        found = timeline.trace(connection, identity, _operation_id(identity), api().timeline)
    if found.steps:
        return found
    with suppress(BadSignature, ValueError):
        return _waiting(Handle.parse(identity))
    return found


def trace_of_address(text: str) -> Trace:
    """The timeline of the most recent requests whose messages contain this e-mail address.

    Raises:
        Invalid: it is no address.
    """
    address = email_address(text)
    with api().bus.database.transaction() as connection:
        found = requests_about(connection, api().keyring, address)
        if not found:
            return Trace((), (), _ABOUT_ADDRESSES)
        return replace(timeline.trace_of(connection, found, None, api().timeline), unknown=_ABOUT_ADDRESSES)


def _waiting(handle: Handle) -> Trace:
    """What a handle without any stored step tells: its command, and so its lane."""
    bus = api().bus
    handler = bus.registry.queued().get(handle.command)
    if handler is None:
        return Trace((), (), _WITHOUT_OUTCOME)
    lane = lane_view(bus, handler.lane)
    paused = bus.database.read(pauses.paused_tasks, fresh=True)
    stopped = lane.paused or next((one for one in paused if one.name == handler.name), None)
    facts = [
        str(handle.operation_id),
        f"lane {lane.name}",
        f"{'?' if lane.ready is None else lane.ready} ready, {lane.unacked} taken",
        f"work last began {_time(lane.last_taken_at)}",
    ]
    if stopped:
        facts.append(f"paused since {_time(stopped.since)}: {stopped.reason}")
    elif lane.consumers == 0:
        facts.append("no worker takes from it")
    accepted_at = handle.accepted_at or datetime.now(UTC)
    what = "accepted" if handle.accepted_at else "pending"
    return Trace((), (Step(accepted_at, what, handle.command, " · ".join(facts)),), _WITHOUT_OUTCOME)


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else "never"


def _operation_id(identity: str) -> UUID | None:
    """From a handle or an id; None when it can only be a request's."""
    with suppress(BadSignature, ValueError):
        return Handle.parse(identity).operation_id
    with suppress(ValueError):
        return UUID(identity)
    return None
