"""Keyset pages: a listing that goes on where the last page ended, whatever came or went meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True)
class Page(Generic[V]):
    """Some rows of a listing.

    Attributes:
        after: the sort key of the last row, to be given back for the next page; None at the end.
    """

    items: Sequence[V]
    after: tuple[Any, ...] | None


def page_of(rows: Sequence[V], limit: int, key: Callable[[V], tuple[Any, ...]]) -> Page[V]:
    """A page from a query that asked for one row more than `limit`."""
    items = rows[:limit]
    return Page(items, key(items[-1]) if len(rows) > limit else None)
