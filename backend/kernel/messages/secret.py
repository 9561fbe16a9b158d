"""Texts that nobody may read on the way."""

from __future__ import annotations


class Secret:
    """A text that nobody may read on the way: sealed on the wire, masked in every representation."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return "•••"
