"""No message is decompressed: kombu would do it before we can look at it, and a few bytes may become gigabytes."""

from __future__ import annotations

from typing import NoReturn

from kombu import compression


class Compressed(Exception):
    """The message is compressed; none of ours is."""


def accept_no_compression() -> None:
    """Make this process refuse every compressed message, as one that cannot be decoded."""
    for content_type in compression.encoders():
        compression.register(_refuse, _refuse, content_type)


def _refuse(_text: object) -> NoReturn:
    raise Compressed
