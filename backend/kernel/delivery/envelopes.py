"""How messages become envelopes: a command's own, and those of an event, one for each who is to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE, Envelope, Headers
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.registry import Handler, Registry


class Envelopes:
    """Writes envelopes in the context of the work at hand."""

    def __init__(self, registry: Registry, codec: Codec) -> None:
        self._registry = registry
        self._codec = codec

    def of_command(
        self, command: Command, operation_id: UUID, *, fingerprint: str = "", resource: str = "", waiting: bool = False
    ) -> Envelope:
        """The message that its handler gets."""
        handler = self._registry.handler_of(type(command))
        headers = Headers(
            *current_origin.get(), accepted_at=_now(), fingerprint=fingerprint, resource=resource, waiting=waiting
        )
        return self._envelope(operation_id, handler, command, headers)

    def of_event(self, event: Event, cause: UUID) -> Iterator[Envelope]:
        """One message for each subscriber, and the CloudEvents copy for the outside world."""
        headers = Headers(*current_origin.get(), accepted_at=_now(), cause=cause)
        for handler in self._registry.subscribers(type(event)):
            yield self._envelope(uuid7(), handler, event, headers)
        if event.public:
            yield self._announcement(event)

    def _envelope(self, message_id: UUID, handler: Handler, message: object, headers: Headers) -> Envelope:
        return Envelope(message_id, handler.name, handler.lane, self._codec.encode(message), headers)

    def _announcement(self, event: Event) -> Envelope:
        """The event as CloudEvents 1.0, structured mode."""
        event_id, name = uuid7(), event.routing_key()
        body = {
            "specversion": "1.0",
            "id": str(event_id),
            "source": f"/{name.split('.')[0]}",
            "type": name,
            "subject": event.subject,
            "time": _now().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": self._codec.encode(event),
        }
        if traceparent := current_origin.get().traceparent:
            body["traceparent"] = traceparent
        return Envelope(event_id, name, EVENTS_EXCHANGE, body)


def _now() -> str:
    return datetime.now(UTC).isoformat()
