"""Sealing and signing: nobody reads a secret in transit, and only our own processes write or change a message.

A message proves its author: its MAC (HMAC-SHA-256) covers the id, the name, the body and all headers.
Whoever can reach the broker can publish a message, but not one that a worker processes.

A field is sealed with AES-256-GCM (NIST SP 800-38D) under a key derived from a secret key. The id and the name of the
message and the field are the additional authenticated data: copied to another message or field, the value does not
open.
"""

from __future__ import annotations

import base64
import hmac
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.keys import Keyring, key_id

SEALED_PREFIX = "sealed:"
"""The mark of a sealed field: representations mask it without knowing the message."""
MASK = "•••"
_NONCE_BYTES = 12


class Unsealable(Exception):
    """The value was changed, or belongs to another message or field."""


class Forged(Exception):
    """None of our processes wrote the message, or it was changed since."""


class UnknownKey(Exception):
    """Written with a key that this process does not have. Another one may, or this one after a restart."""


class Sealer:
    """Signs and checks messages, seals and opens their secret fields.

    Args:
        accept_unsigned: accept messages without a MAC, which releases before 0.2 left in the queues.
    """

    def __init__(self, keyring: Keyring, *, accept_unsigned: bool = False) -> None:
        self._accept_unsigned = accept_unsigned
        self._mac_keys = {key_id(key): key for key in keyring.derived("authenticating messages")}
        keys = keyring.derived("sealing fields")
        self._newest = key_id(keys[0])
        self._keys = {key_id(key): AESGCM(key) for key in keys}
        # Releases before 0.2 sealed with the key only, without additional data.
        earlier = keyring.derived("sealing")
        self._earlier = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in earlier])

    def signed(self, envelope: Envelope) -> Envelope:
        """The envelope with the MAC of its content."""
        headers = self.signed_headers(envelope.id, envelope.name, envelope.body, envelope.headers)
        return replace(envelope, headers=headers)

    def signed_headers(self, message_id: UUID, name: str, body: Mapping[str, Any], headers: Headers) -> Headers:
        """The headers with the MAC of a message that consists of these parts."""
        key_name, key = next(iter(self._mac_keys.items()))
        return msgspec.structs.replace(headers, mac=f"{key_name}:{_mac(key, message_id, name, body, headers)}")

    def check(self, envelope: Envelope) -> None:
        """Check that one of our processes wrote the message, unchanged.

        Raises:
            Forged: none of them did.
            UnknownKey: it names a key that this process does not have.
        """
        if not envelope.headers.mac and self._accept_unsigned:
            return
        name, _, mac = envelope.headers.mac.partition(":")
        if not mac:
            raise Forged
        key = self._mac_keys.get(name)
        if key is None:
            raise UnknownKey
        right = _mac(key, envelope.id, envelope.name, envelope.body, envelope.headers)
        if not hmac.compare_digest(mac.encode(), right.encode()):
            raise Forged

    def seal(self, text: str, message_id: UUID, name: str, field: str) -> str:
        """Encrypt and authenticate `text` for this field of this message."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._keys[self._newest].encrypt(nonce, text.encode(), _place(message_id, name, field))
        return f"{SEALED_PREFIX}{self._newest}:{base64.urlsafe_b64encode(sealed).decode()}"

    def unseal(self, sealed: str, message_id: UUID, name: str, field: str) -> str:
        """Open what `seal` made for the same field of the same message.

        Raises:
            Unsealable: it was changed, or belongs elsewhere.
            UnknownKey: its key is not among ours.
        """
        prefix, _, rest = sealed.partition(":")
        key_name, _, text = rest.rpartition(":")
        if f"{prefix}:" != SEALED_PREFIX:
            raise Unsealable
        if not key_name:
            return self._unseal_earlier(text)
        key = self._keys.get(key_name)
        if key is None:
            raise UnknownKey
        try:
            raw = base64.urlsafe_b64decode(text)
            return key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _place(message_id, name, field)).decode()
        except (InvalidTag, ValueError):
            raise Unsealable from None

    def _unseal_earlier(self, text: str) -> str:
        try:
            return self._earlier.decrypt(text).decode()
        except InvalidToken:
            raise UnknownKey from None


def masked(value: Any) -> Any:
    """The value with every sealed field masked, for output."""
    if isinstance(value, str):
        return MASK if value.startswith(SEALED_PREFIX) else value
    if value is None:  # as most fields of most messages
        return value
    if isinstance(value, Mapping):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(inner) for inner in value]
    return value


_CANONICAL = msgspec.json.Encoder(order="deterministic")


def _mac(key: bytes, message_id: UUID, name: str, body: Mapping[str, Any], headers: Headers) -> str:
    covered = {key: value for key, value in msgspec.structs.asdict(headers).items() if value and key != "mac"}
    parts = [str(message_id), name, _stable(body), covered]
    return base64.b64encode(hmac.digest(key, _CANONICAL.encode(parts), "sha256")).decode()


def _stable(value: Any) -> Any:
    """The value as it is after JSON and PostgreSQL's jsonb, which writes 1e22 as an integer.

    Raises:
        Forged: it is no number of JSON. None of our processes writes it, and its MAC would be that of null.
    """
    if isinstance(value, str) or value is None:  # as most fields of most messages
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Forged
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {key: _stable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_stable(inner) for inner in value]
    return value


def _place(message_id: UUID, name: str, field: str) -> bytes:
    return f"{message_id}\0{name}\0{field}".encode()
