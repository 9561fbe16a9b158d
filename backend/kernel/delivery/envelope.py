"""The envelope of a message, and the port that sends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, Self
from uuid import UUID

import msgspec

EVENTS_EXCHANGE = "events"
"""The `lane` of an envelope that is a CloudEvents copy for other programs, not a message for a worker."""


class MalformedHeaders(Exception):
    """The headers are not those of an envelope."""


class Headers(msgspec.Struct, frozen=True):
    """The context of a message, without secrets. Empty headers are not sent.

    Attributes:
        request_id, actor, ip, user_agent, traceparent, replayed_by: see `Origin`.
        accepted_at: when the API accepted the command, the event was written, or the timer was due; RFC 3339.
        fingerprint: of the request's body, for a command under an Idempotency-Key.
        resource: the path of what the command creates or changes.
        waiting: whether a request waits for the outcome.
        cause: the message that caused an event.
        spooled: whether the message waited in the outbox because the broker was away.
        attempts: the number of failed attempts.
        timeouts: how often PostgreSQL aborted the handler's transaction: after a timeout, or in conflicts.
        replay: how often it was dead-lettered before.
        replayed_at: when an operator replayed it last.
        mac: the proof that one of our processes wrote the message, see `Sealer`.
    """

    request_id: str = ""
    actor: UUID | None = None
    ip: str = ""
    user_agent: str = ""
    traceparent: str = ""
    replayed_by: UUID | None = None
    accepted_at: str = ""
    fingerprint: str = ""
    resource: str = ""
    waiting: bool = False
    cause: UUID | None = None
    spooled: bool = False
    attempts: int = 0
    timeouts: int = 0
    replay: int = 0
    replayed_at: str = ""
    mac: str = ""

    @classmethod
    def parse(cls, data: object) -> Self:
        """The headers that `as_json` wrote. Fields of a later version are ignored.

        Raises:
            MalformedHeaders: `data` is something else.
        """
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError:
            raise MalformedHeaders from None  # the cause quotes the value

    def as_json(self) -> dict[str, Any]:
        """The headers as JSON-ready data."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if value}


_NO_HEADERS = Headers()


class Taking(NamedTuple):
    """Which worker took a message from its lane, and when.

    Attributes:
        tries: how often the message was tried before, for whatever reason it is tried again.
    """

    at: datetime
    worker: str
    tries: int = 0


@dataclass(frozen=True)
class Envelope:
    """One message as it is sent.

    Attributes:
        id: the operation's id; the inbox ensures that a message takes effect once per id.
        name: the handler's wire name, `<context>.<handler>`.
        lane: the queue it travels in, `<context>.<kind>`.
        body: JSON-ready fields of the message; secrets sealed.
        taken: which worker took it, and when; it is not sent.
        address: a keyed hash of the e-mail address in the body, by which operators find it; it is not sent.
    """

    id: UUID
    name: str
    lane: str
    body: Mapping[str, Any]
    headers: Headers = _NO_HEADERS
    taken: Taking | None = None
    address: bytes | None = field(default=None, repr=False)


class Depth(NamedTuple):
    """The number of messages in a lane.

    Attributes:
        ready: messages that no worker has taken.
        consumers: None if the broker does not report them.
    """

    ready: int
    consumers: int | None


class QueueUnavailable(Exception):
    """The broker did not confirm the message in time. It may still arrive."""


class MessageRefused(QueueUnavailable):
    """The broker answered, and did not take the message: mostly because its lane takes no more. It does not arrive."""


class LaneFull(MessageRefused):
    """The broker refused the message: its lane takes no more."""


class Queue(Protocol):
    """Sends messages to workers and to other programs."""

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Send the message to its lane, durably.

        Raises:
            LaneFull: refused; it does not arrive.
            QueueUnavailable: not confirmed within `deadline` seconds.
        """

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Send several messages at once, in no particular order, and CloudEvents 1.0 objects as well:
        an envelope whose lane is `EVENTS_EXCHANGE` goes to that topic exchange, with its name as routing key.

        Returns:
            The ids of those that were confirmed within `deadline` seconds.
        """

    def depths(self, lanes: Sequence[str], deadline: float) -> Mapping[str, Depth]:
        """The numbers of messages in these lanes, at most some seconds old.

        Raises:
            QueueUnavailable: the broker did not answer within `deadline` seconds.
        """

    def check(self, deadline: float) -> None:
        """Check that the broker answers.

        Raises:
            QueueUnavailable: not within `deadline` seconds.
        """

    def why_away(self) -> str:
        """Why no new connection to the broker can be made, for an operator. Empty if one can."""

    def close(self) -> None:
        """Publish what is pending, then stop."""
