"""The kinds of message a context understands, and the envelope they travel in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Command:
    """An order that a worker carries out later."""


@dataclass(frozen=True)
class SyncCommand(Generic[R_co]):
    """An order whose answer the caller waits for. Rare: a login."""


@dataclass(frozen=True)
class Query(Generic[R_co]):
    """A question answered with a view. It changes nothing."""


@dataclass(frozen=True)
class Progress:
    """How far a command is that takes several transactions, one step in each.

    A handler that returns one with something left to do is called again with the same command;
    the operation stays pending until then.

    Attributes:
        done: how many of `total` are dealt with, those that failed included.
        failed: how many of them failed.
        failures: what failed, and why, ready for the caller to read.
    """

    done: int
    total: int
    failed: int
    failures: Sequence[Any] = ()
