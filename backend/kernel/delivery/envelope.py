"""One message as it lies in a lane, and the port through which it gets there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self
from uuid import UUID

import msgspec

from backend.kernel.messages.origin import Origin

EVENTS_EXCHANGE = "events"
"""The `lane` of an envelope that is a CloudEvents copy for the outside world, not a worker's message."""


class MalformedHeaders(Exception):
    """The headers are not what an envelope carries."""


@dataclass(frozen=True)
class Headers:
    """The context of a message; never secrets. What is empty does not travel.

    Attributes:
        request_id, actor, ip, user_agent, traceparent: see `Origin`.
        accepted_at: when the API accepted the command or the event was written, RFC 3339.
        fingerprint: of the request's body, for a command under an Idempotency-Key.
        resource: the path of what the command makes or changes.
        waiting: whether a request waits for the outcome.
        cause: the message that an event came from.
        spooled: whether the broker was away and the message waited in the outbox.
        attempts: how often it failed before.
        replay: how often it was dead-lettered before.
        replayed_by: the administrator who had it delivered once more; None: an operator at the machine.
        mac: the proof that one of our processes wrote the message, see `Codec`.
    """

    request_id: str = ""
    actor: UUID | None = None
    ip: str = ""
    user_agent: str = ""
    traceparent: str = ""
    accepted_at: str = ""
    fingerprint: str = ""
    resource: str = ""
    waiting: bool = False
    cause: UUID | None = None
    spooled: bool = False
    attempts: int = 0
    replay: int = 0
    replayed_by: UUID | None = None
    mac: str = ""

    @classmethod
    def parse(cls, data: object) -> Self:
        """The headers that `as_json` wrote; fields of a later version are ignored.

        Raises:
            MalformedHeaders: `data` is something else.
        """
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError:
            raise MalformedHeaders from None  # the cause quotes the value

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        found = {name: value for name in _NAMES if (value := getattr(self, name))}
        for name in _IDS:
            if name in found:
                found[name] = str(found[name])
        return found

    @property
    def origin(self) -> Origin:
        """Who asked, and on which request."""
        return Origin(self.request_id, self.actor, self.ip, self.user_agent, self.traceparent)


_NAMES = tuple(field.name for field in fields(Headers))
_IDS = ("actor", "cause", "replayed_by")


@dataclass(frozen=True)
class Envelope:
    """One message as it lies in a lane.

    Attributes:
        id: the operation's id; the inbox ensures that a message takes effect once per id.
        name: the handler's wire name, `<context>.<handler>`.
        lane: the queue it travels in, `<context>.<kind>`.
        body: JSON-ready fields of the message; secrets sealed.
    """

    id: UUID
    name: str
    lane: str
    body: Mapping[str, Any]
    headers: Headers = Headers()


class QueueUnavailable(Exception):
    """The broker did not confirm the message in time. It may still arrive."""


class Queue(Protocol):
    """The way to the workers and to the outside world."""

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Hand the message to its lane, durably.

        Raises:
            QueueUnavailable: not confirmed within `deadline` seconds.
        """

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Hand over several messages side by side, in no order among them, and CloudEvents 1.0 objects likewise:
        an envelope whose lane is `EVENTS_EXCHANGE` goes to that topic exchange, with its name as routing key.

        Returns:
            The ids of those that were confirmed within `deadline` seconds.
        """

    def check(self, deadline: float) -> None:
        """Ask whether the broker answers.

        Raises:
            QueueUnavailable: not within `deadline` seconds.
        """

    def close(self) -> None:
        """End, once everything handed over is published."""
