"""Texts that nobody may read in transit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that nobody may read in transit: sealed in messages, masked in every representation."""

    value: str

    def __repr__(self) -> str:
        return "•••"
