"""One message as it lies in a queue, and the port through which it gets there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

EVENTS_EXCHANGE = "events"
"""The `queue` of an envelope that is a CloudEvents copy for the outside world, not a worker's message."""


@dataclass(frozen=True)
class Envelope:
    """One message as it lies in a queue.

    Attributes:
        id: the operation's id; the inbox carries out a message once per id.
        name: the handler's wire name, `<context>.<handler>`.
        queue: the lane it travels in, `<context>.<lane>`.
        body: JSON-ready fields of the message; secrets sealed.
        headers: JSON-ready context of the message (`request_id`, `traceparent`, `actor`,
            `accepted_at`, `fingerprint`, `resource`, `waiting`; of an event `cause`, the message that
            it came from; `spooled`; `attempts` and `replay`, how often it failed and died before);
            never secrets.
    """

    id: UUID
    name: str
    queue: str
    body: Mapping[str, Any]
    headers: Mapping[str, Any]


class QueueUnavailable(Exception):
    """The broker did not confirm the message in time. It may still arrive."""


class Queue(Protocol):
    """The way to the workers and to the outside world."""

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Hand the message to its worker lane, durably.

        Raises:
            QueueUnavailable: not confirmed within `deadline` seconds.
        """

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Hand over several messages side by side, in no order among them, and CloudEvents 1.0 objects likewise:
        an envelope whose queue is `EVENTS_EXCHANGE` goes to that topic exchange, with its name as routing key.

        Returns:
            The ids of those that were confirmed within `deadline` seconds.
        """

    def check(self, deadline: float) -> None:
        """Ask whether the broker answers.

        Raises:
            QueueUnavailable: not within `deadline` seconds.
        """
