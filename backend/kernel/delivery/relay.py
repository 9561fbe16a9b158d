"""The relay: publishes what a transaction wrote to the outbox, right after its commit.

It guarantees nothing: the scheduled sweep publishes what fails here.
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
"""Messages whose events may wait for the relay before the next message is started."""

log = structlog.get_logger(__name__)


class Relay:
    """The relay of this process. Its thread starts on first use, so never before a fork.

    Args:
        deadline: seconds to publish the events of one message.
    """

    def __init__(self, database: Database, queue: Queue, deadline: float) -> None:
        self._database = database
        self._queue = queue
        self._deadline = deadline
        self._thread = ThreadPoolExecutor(1, "relay")
        self._at_work = 0
        self._settled = Condition()

    def publish(self, aggregates: Sequence[str]) -> None:
        """Publish what was just committed for these aggregates."""
        if aggregates:
            try:
                outbox.relay(self._database, self._queue, aggregates, self._deadline)
            except Exception as error:  # noqa: BLE001 - whatever it was: the effect has happened
                log.warning("outbox left to the sweep", reason=type(error).__name__)

    def publish_meanwhile(self, aggregates: Sequence[str]) -> None:
        """As `publish`, while the next message is processed. With too many relays pending, wait for one."""
        if not aggregates:
            return
        with self._settled:
            self._settled.wait_for(lambda: self._at_work < _MOST_RELAYS)
            try:
                relay = self._thread.submit(copy_context().run, self.publish, aggregates)
            except RuntimeError:  # closed meanwhile; a failure after the commit must not fail the message
                log.warning("outbox left to the sweep", reason="closed")
                return
            self._at_work += 1
        relay.add_done_callback(self._note_settled)

    def wait(self) -> None:
        """Wait until everything handed over so far has been published, or left to the sweep."""
        with self._settled:
            self._settled.wait_for(lambda: not self._at_work)

    def close(self) -> None:
        """Publish what remains, then stop the thread."""
        self._thread.shutdown()

    def _note_settled(self, _relay: Future[None]) -> None:
        with self._settled:
            self._at_work -= 1
            self._settled.notify_all()
