"""Messages to JSON-ready data and back, with every `Secret` sealed on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from backend.kernel.delivery.sealing import Keyring, Unsealable
from backend.kernel.messages.secret import Secret

T = TypeVar("T")


class Undecodable(Exception):
    """A body that is not, or no longer, the message its name promises. Trying again cannot help."""


class Codec:
    """Encodes message dataclasses. Unknown fields are ignored and missing ones take their defaults,
    so that workers and API may differ by one release.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def encode(self, message: object) -> dict[str, Any]:
        """The message's fields as JSON-ready data."""
        encoded: dict[str, Any] = msgspec.to_builtins(message, enc_hook=self._seal)
        return encoded

    def decode(self, kind: type[T], body: Mapping[str, Any]) -> T:
        """The message that `encode` made.

        Raises:
            Undecodable: the body does not fit `kind`, or its secrets cannot be opened.
        """
        try:
            return msgspec.convert(dict(body), kind, dec_hook=self._unseal)
        except (msgspec.ValidationError, Unsealable, TypeError, ValueError):
            # `from None`: the cause quotes the offending value.
            raise Undecodable(f"the body is not a {kind.__name__}") from None

    def _seal(self, value: object) -> str:
        if isinstance(value, Secret):
            return self._keyring.seal(value.value)
        raise NotImplementedError(f"{type(value).__name__} cannot travel in a message")

    def _unseal(self, kind: type, value: object) -> object:
        if kind is Secret and isinstance(value, str):
            return Secret(self._keyring.unseal(value))
        raise NotImplementedError(f"{kind.__name__} cannot travel in a message")
