"""A handler that does not end: the test that meets it says which one, and the tests after it go on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers
from backend.program import Process
from tests.inline import Endless, InlineQueue

handlers = Handlers[None]("circles")


@dataclass(frozen=True)
class Turn(Command):
    """Go round and round."""

    forever: bool


@handlers.on(Turn)
def turn(command: Turn, ports: None) -> None:
    while command.forever:
        threading.Event().wait(0.001)


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (Context("circles", handlers, lambda _resources, _unit: None),)


def test_a_handler_that_does_not_end_is_named_with_its_place_and_is_stopped(
    process: Process, queue: InlineQueue
) -> None:
    queue.patience = 0.1
    process.bus.dispatch(Turn(forever=True), uuid7())
    with pytest.raises(Endless, match=r"circles\.turn does not end[\s\S]*in turn"):
        queue.drain()

    queue.patience = 60
    process.bus.dispatch(Turn(forever=False), uuid7())
    queue.drain()
    assert [envelope.name for envelope in queue.sent] == ["circles.turn", "circles.turn"]
