"""Publishing without what py-amqp does again for each message. docs/performance-notes.md says how that was measured.

Its own publish asks the socket for news before each message, encodes every property, and reads each frame in three
parts: system calls, between which other threads of the process run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import pack
from typing import Any

import amqp
from amqp.serialization import dumps
from amqp.spec import Basic
from kombu import Connection

_PERSISTENT = b"\x02"
_READ_AT_ONCE = 16384
"""Bytes: the most that TLS delivers at once."""
_METHOD = 1
"""The type of a frame that begins with a method."""


class Fields:
    """Headers that many messages have, encoded once."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.encoded = _entries(values)


class Content(amqp.Message):  # type: ignore[misc]
    """A persistent message, and how its properties are encoded (AMQP 0-9-1, 4.2.6.1).

    Args:
        properties: `content_type`, `content_encoding`, `headers`, `correlation_id`, `message_id`, or some of them.
        same: further headers.
    """

    def __init__(self, body: bytes, properties: Mapping[str, Any], same: Fields) -> None:
        super().__init__(body)
        self._given = properties
        self._same = same

    def _serialize_properties(self) -> bytes:
        """The flags of the properties, then their values. That it is private is watched by a test."""
        given = self._given
        headers = self._same.encoded + _entries(given.get("headers", {}))
        values = (
            (15, _short(given.get("content_type", ""))),
            (14, _short(given.get("content_encoding", ""))),
            (13, pack(">I", len(headers)) + headers if headers else b""),
            (12, _PERSISTENT),
            (10, _short(given.get("correlation_id", ""))),
            (7, _short(given.get("message_id", ""))),
        )
        flags = sum(1 << bit for bit, value in values if value)
        return pack(">H", flags) + b"".join([value for _, value in values])


def publish(channel: Any, content: Content, exchange: str, routing_key: str, *, mandatory: bool) -> None:
    """Write the message. What the broker says to it is read later.

    Raises:
        OSError: the connection has ended.
    """
    arguments = _arguments(exchange, routing_key, mandatory)
    channel.connection.frame_writer(_METHOD, channel.channel_id, Basic.Publish, arguments, content)


def read_at_once(connection: Connection) -> None:
    """Let the connection read all that has arrived with one system call, instead of the parts of each frame. Whoever
    waits for its socket alone would miss what was read already.
    """
    transport = connection.connection.transport
    read = transport._quick_recv  # noqa: SLF001 - watched by a test
    transport._quick_recv = lambda _size: read(_READ_AT_ONCE)  # noqa: SLF001


@lru_cache(1024)
def _arguments(exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001 - for the cache
    encoded: bytes = dumps("Bssbb", (0, exchange, routing_key, mandatory, False))
    return encoded


def _entries(values: Mapping[str, Any]) -> bytes:
    """A table without its length."""
    encoded: bytes = dumps("F", (values,))
    return encoded[4:]


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded if encoded else b""
