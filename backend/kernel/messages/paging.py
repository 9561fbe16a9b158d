"""Keyset pages: the next page starts where the last one ended, whatever was added or deleted meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True)
class Page(Generic[V]):
    """Some rows of a listing.

    Attributes:
        after: the sort key of the last row, with which the next page starts; None at the end.
    """

    items: Sequence[V]
    after: tuple[Any, ...] | None


def page_of(rows: Sequence[V], limit: int, key: Callable[[V], tuple[Any, ...]]) -> Page[V]:
    """A page from the rows of a query for one row more than `limit`."""
    items = rows[:limit]
    return Page(items, key(items[-1]) if len(rows) > limit else None)
