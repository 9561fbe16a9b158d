"""What is declared wrongly is told at the start, with its name, and not by the first message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers, Registry


@dataclass(frozen=True)
class Send(Command):
    """Send a parcel."""


@dataclass(frozen=True)
class Fetch(Command):
    """Fetch a parcel."""


def nothing(message: object, ports: None) -> None:
    """Do nothing."""


def without_ports(message: object) -> None:
    """Take too little."""


def same_command(handlers: Handlers[None]) -> None:
    handlers.on(Send)(nothing)
    handlers.on(Send)(nothing)


def same_name(handlers: Handlers[None]) -> None:
    """The messages of one would be processed as those of the other."""
    handlers.on(Send)(nothing)
    handlers.on(Fetch)(nothing)


def other_signature(handlers: Handlers[None]) -> None:
    handlers.on(Send)(without_ports)  # type: ignore[arg-type]


def no_attempt(handlers: Handlers[None]) -> None:
    handlers.on(Send, attempts=0)(nothing)


def no_pause(handlers: Handlers[None]) -> None:
    handlers.on(Send, backoff=())(nothing)


def nothing_to_give_up(handlers: Handlers[None]) -> None:
    handlers.on(Send)(nothing)
    handlers.on_given_up(Fetch)(nothing)


def given_up_twice(handlers: Handlers[None]) -> None:
    handlers.on_given_up(Send)(nothing)
    handlers.on_given_up(Send)(nothing)


def registry_of(declare: Callable[[Handlers[None]], None]) -> Registry:
    handlers = Handlers[None]("parcels")
    declare(handlers)
    return Registry([handlers])


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (same_command, "Send has two handlers in parcels"),
        (same_name, "two handlers are named parcels.nothing"),
        (other_signature, "parcels.without_ports must take a message and its ports"),
        (no_attempt, "parcels.nothing needs at least one attempt"),
        (no_pause, "parcels.nothing needs at least one attempt"),
        (nothing_to_give_up, "parcels releases what was reserved for Fetch, but has no handler for it"),
        (given_up_twice, "Send has two functions for when it is given up in parcels"),
    ],
)
def test_it_is_refused_with_its_name(declare: Callable[[Handlers[None]], None], told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        registry_of(declare)
