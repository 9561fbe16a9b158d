"""The kinds of messages: commands and queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Command:
    """A request that a worker processes later."""


@dataclass(frozen=True)
class SyncCommand(Generic[R_co]):
    """A request that the API processes at once, because the caller needs its answer. Rare: a login."""


@dataclass(frozen=True)
class Query(Generic[R_co]):
    """A question that a view answers. It changes nothing."""


@dataclass(frozen=True)
class Progress:
    """The progress of a command that takes several steps, with a transaction for each.

    If a handler returns one with work left to do, it is called again with the same command;
    until the last step the operation stays pending.

    Attributes:
        done: how many of `total` are done, including failed ones.
        failed: how many of them failed.
        failures: what failed, and why, as JSON-ready data for the caller.
    """

    done: int
    total: int
    failed: int
    failures: Sequence[Any] = ()
