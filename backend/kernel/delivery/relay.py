"""The relay: publishes what a transaction left in the outbox, right after its commit.

Guarantee: none is needed. What fails here is published by the scheduled sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Condition

import structlog

from backend.kernel.delivery import outbox
from backend.kernel.delivery.envelope import Queue
from backend.kernel.postgres.database import Database

_MOST_RELAYS = 32
"""Messages whose events may wait for the relay, before the next one is begun."""

log = structlog.get_logger(__name__)


class Relay:
    """The relay of this process. Its thread begins with the first use, so never before a fork.

    Args:
        deadline: seconds for which one message's events are offered to the queue.
    """

    def __init__(self, database: Database, queue: Queue, deadline: float) -> None:
        self._database = database
        self._queue = queue
        self._deadline = deadline
        self._thread = ThreadPoolExecutor(1, "relay")
        self._at_work = 0
        self._settled = Condition()

    def publish(self, aggregates: Sequence[str]) -> None:
        """Publish what was just committed for these aggregates, now."""
        if aggregates:
            try:
                outbox.relay(self._database, self._queue, aggregates, self._deadline)
            except Exception as error:  # noqa: BLE001 - whatever it was: the effect has happened
                log.warning("outbox left to the sweep", reason=type(error).__name__)

    def publish_meanwhile(self, aggregates: Sequence[str]) -> None:
        """The same while the next message is processed. Whoever is far ahead of its relays waits for them."""
        if not aggregates:
            return
        with self._settled:
            self._settled.wait_for(lambda: self._at_work < _MOST_RELAYS)
            try:
                relay = self._thread.submit(copy_context().run, self.publish, aggregates)
            except RuntimeError:  # closed beside the message; what fails after the commit must not fail it
                log.warning("outbox left to the sweep", reason="closed")
                return
            self._at_work += 1
        relay.add_done_callback(self._note_settled)

    def wait(self) -> None:
        """Return once everything handed over by now has been offered to the queue."""
        with self._settled:
            self._settled.wait_for(lambda: not self._at_work)

    def close(self) -> None:
        """Publish what is left, then end the thread."""
        self._thread.shutdown()

    def _note_settled(self, _relay: Future[None]) -> None:
        with self._settled:
            self._at_work -= 1
            self._settled.notify_all()
