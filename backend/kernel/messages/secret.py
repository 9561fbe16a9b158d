"""Texts that nobody may read on the way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that nobody may read on the way: sealed on the wire, masked in every representation."""

    value: str

    def __repr__(self) -> str:
        return "•••"
