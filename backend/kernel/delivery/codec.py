"""Encodes messages as signed envelopes and decodes them: fields as JSON, every `Secret` sealed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_type_hints
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from backend.kernel.delivery import inbox
from backend.kernel.delivery.envelope import EVENTS_EXCHANGE, Envelope, Headers
from backend.kernel.delivery.sealing import Sealer, Unsealable
from backend.kernel.messages.event import Event
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.registry import Registry
from backend.kernel.messages.secret import Secret

T = TypeVar("T")

LARGEST_BODY = 256 * 1024
"""Bytes of JSON. What is larger belongs into a table, and its id into the message."""
_VALID_FOR = inbox.RETENTION.age - timedelta(days=1)
"""Shorter than the inbox remembers a message: the clocks of processes differ."""


class Undecodable(Exception):
    """The body is not, or no longer, the message that its name promises. A retry cannot help."""


class Expired(Exception):
    """The message is so old that the inbox may have forgotten it: a copy would take effect again."""


class Codec:
    """Encodes and decodes envelopes. Unknown fields are ignored and missing ones take their defaults,
    so that workers and API may differ by one release.
    """

    def __init__(self, registry: Registry, sealer: Sealer) -> None:
        self._registry = registry
        self._sealer = sealer

    def of_command(  # noqa: PLR0913 - what is known of the request
        self,
        command: Command,
        operation_id: UUID,
        *,
        fingerprint: str = "",
        resource: str = "",
        waiting: bool = False,
        due_at: datetime | None = None,
    ) -> Envelope:
        """The message for the command's handler."""
        handler = self._registry.handlers[type(command)]
        headers = Headers(
            *current_origin.get(),
            accepted_at=(due_at or datetime.now(UTC)).isoformat(),
            fingerprint=fingerprint,
            resource=resource,
            waiting=waiting,
        )
        body = self._encode(command, operation_id, handler.name)
        signed = self._sealer.signed_headers(operation_id, handler.name, body, headers)
        return Envelope(operation_id, handler.name, handler.lane, body, signed)

    def of_timer(self, command: Command, due_at: datetime) -> Envelope:
        """The message of a command for later. It counts as accepted when it is due."""
        return self.of_command(command, uuid7(), due_at=due_at)

    def of_event(self, event: Event, cause: UUID) -> Iterator[Envelope]:
        """One message per subscriber, and the CloudEvents copy for other programs."""
        headers = Headers(*current_origin.get(), accepted_at=datetime.now(UTC).isoformat(), cause=cause)
        for handler in self._registry.subscribers(event.routing_key()):
            message_id = uuid7()
            body = self._encode(event, message_id, handler.name)
            signed = self._sealer.signed_headers(message_id, handler.name, body, headers)
            yield Envelope(message_id, handler.name, handler.lane, body, signed)
        if event.public:
            yield self._announcement(event)

    def decode(self, kind: type[T], envelope: Envelope) -> T:
        """The message in the envelope.

        Raises:
            Forged, UnknownKey: see `Sealer.check`.
            Expired: it may have taken effect before.
            Undecodable: the body does not fit `kind`, or a secret does not open; the text names the field.
        """
        self._sealer.check(envelope)
        headers = envelope.headers
        since = headers.replayed_at or headers.accepted_at
        signed = headers.mac  # without a MAC its times prove nothing
        if signed and since and datetime.fromisoformat(since) < datetime.now(UTC) - _VALID_FOR:
            raise Expired
        body = dict(envelope.body)
        try:
            for field in _secret_fields(kind):
                if isinstance(sealed := body.get(field), str):
                    body[field] = Secret(self._sealer.unseal(sealed, envelope.id, envelope.name, field))
            return msgspec.convert(body, kind, dec_hook=lambda _, value: value)
        except msgspec.ValidationError as error:
            # Only the path: the rest of the text, and the cause, may quote the value.
            _, _, path = str(error).rpartition(" - at ")
            raise Undecodable(f"the body is not a {kind.__name__}: {path or 'a field is missing'}") from None
        except (Unsealable, TypeError, ValueError):
            raise Undecodable(f"the body is not a {kind.__name__}") from None

    def _encode(self, message: object, message_id: UUID, name: str) -> dict[str, Any]:
        """The message's fields as JSON-ready data.

        Raises:
            ValueError: they are too large.
        """
        secrets, values = _secret_fields(type(message)), message
        if secrets:
            values = {field.name: getattr(message, field.name) for field in fields(message)}  # type: ignore[arg-type]
            for field in secrets:
                if values[field] is not None:
                    values[field] = self._sealer.seal(values[field].value, message_id, name, field)
        body = dict(msgspec.to_builtins(values, enc_hook=_refuse))
        if len(msgspec.json.encode(body)) > LARGEST_BODY:
            raise ValueError(f"{name} has more than {LARGEST_BODY // 1024} KiB: store its content, and send the id")
        return body

    def _announcement(self, event: Event) -> Envelope:
        """The event as CloudEvents 1.0, structured mode."""
        event_id, name = uuid7(), event.routing_key()
        body = {
            "specversion": "1.0",
            "id": str(event_id),
            "source": f"/{name.split('.')[0]}",
            "type": name,
            "subject": event.subject,
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": msgspec.to_builtins(event, enc_hook=_refuse),
        }
        if traceparent := current_origin.get().traceparent:
            body["traceparent"] = traceparent
        return Envelope(event_id, name, EVENTS_EXCHANGE, body)


_SECRETS: dict[type, tuple[str, ...]] = {}


def _secret_fields(kind: type) -> tuple[str, ...]:
    """The secret fields of a message. Encoding refuses a nested one."""
    found = _SECRETS.get(kind)
    if found is None:
        hints = get_type_hints(kind)
        found = _SECRETS[kind] = tuple(name for name, hint in hints.items() if hint in (Secret, Secret | None))
    return found


def _refuse(value: object) -> Any:
    raise NotImplementedError(f"{type(value).__name__} cannot be part of a message; a Secret must be a plain field")
