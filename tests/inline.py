"""A queue without a broker: a thread beside the test processes what is sent, in order, as a worker would."""

from __future__ import annotations

import ctypes
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from queue import Queue as PendingQueue
from threading import Thread
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa

from backend.kernel.delivery import inbox
from backend.kernel.delivery.envelope import (
    EVENTS_EXCHANGE,
    Depth,
    Envelope,
    Headers,
    LaneFull,
    QueueUnavailable,
    Taking,
)
from backend.program import Process


class Endless(AssertionError):
    """A handler does not end. The text says which one, and where it is."""


class Stopped(Exception):
    """Raised inside a handler that does not end, so that the tests after it can go on."""


class InlineQueue:
    """The `Queue` port. Set `process`, send, then `drain`.

    Attributes:
        patience: seconds that a handler may take: less than a test may.
        down: whether the broker is away.
        full: the queues that take nothing more.
        sent: every message, in order, as it would lie in its queue: JSON and nothing else.
        announced: routing key and CloudEvents object of every event for the outside world.
    """

    debugged: ClassVar[bool] = False
    """Whether somebody stopped at a `breakpoint()`: they may take their time."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.down = False
        self.full: set[str] = set()
        self.sent: list[Envelope] = []
        self.announced: list[tuple[str, dict[str, Any]]] = []
        self.patience = 60.0
        self._at_work: Envelope | None = None
        self._faults: list[Exception] = []
        self._pending: PendingQueue[Envelope | None] = PendingQueue()
        self._worker: Thread | None = None

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Take the message, unless the broker is away or the queue full."""
        self.check(deadline)
        if envelope.lane in self.full:
            raise LaneFull
        if self._worker is None:
            self._worker = Thread(target=self._carry_out, daemon=True)
            self._worker.start()
        self.sent.append(as_delivered(envelope))
        self._pending.put(self.sent[-1])

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Take the messages, and keep the events, unless the broker is away or the queue full."""
        taken = [] if self.down else [envelope for envelope in envelopes if envelope.lane not in self.full]
        for envelope in taken:
            if envelope.lane == EVENTS_EXCHANGE:
                self.announced.append((envelope.name, json.loads(json.dumps(envelope.body))))
            else:
                self.send(envelope, deadline)
        return {envelope.id for envelope in taken}

    def depths(self, lanes: Sequence[str], deadline: float) -> Mapping[str, Depth]:
        """What is sent is taken at once, by one worker."""
        self.check(deadline)
        return {lane: Depth(0, 1) for lane in lanes}

    def check(self, deadline: float) -> None:
        """Refuse while the broker is away."""
        if self.down:
            raise QueueUnavailable

    def why_away(self) -> str:
        """No connection is needed."""
        return ""

    def drain(self) -> None:
        """Wait until everything is carried out, also what that sent in turn; raise the first fault.

        Raises:
            Endless: a handler does not end.
        """
        self._settle()
        self.raise_fault()

    def raise_fault(self) -> None:
        """Raise the first fault of a handler, if there is one."""
        if self._faults:
            raise self._faults.pop(0)

    def sweep(self) -> None:
        """Do what the scheduled sweep does some seconds later, and wait for what comes of it."""
        if self.process is None:
            raise AssertionError("InlineQueue.process is not set")
        with self.process.bus.database.transaction() as connection:
            connection.execute(sa.text("update outbox set created_at = created_at - interval '1 minute'"))
        self.process.sweep()
        self.drain()

    def close(self) -> None:
        """End the worker, once everything is carried out."""
        self._settle()
        if self._worker is not None:
            self._pending.put(None)
            self._worker.join()
            self._worker = None

    def _settle(self) -> None:
        while True:
            self._await_worker()
            sent = len(self.sent)
            if self.process is not None:
                self.process.relay.wait()
            if len(self.sent) == sent:
                return

    def _await_worker(self) -> None:
        pending = self._pending
        with pending.all_tasks_done:
            ended = pending.all_tasks_done.wait_for(lambda: not pending.unfinished_tasks, self.patience)
        if InlineQueue.debugged:
            pending.join()
        elif not ended and self._worker is not None and self._worker.ident and self._at_work:
            where = traceback.format_stack(sys._current_frames()[self._worker.ident])[-4:]  # noqa: SLF001 - documented
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._worker.ident), ctypes.py_object(Stopped))
            raise Endless(f"{self._at_work.name} does not end: it is here after {self.patience:g} s\n{''.join(where)}")

    def _carry_out(self) -> None:
        if self.process is None:
            raise AssertionError("set InlineQueue.process first")
        while (envelope := self._pending.get()) is not None:
            self._at_work = envelope
            try:
                taken = replace(envelope, taken=Taking(datetime.now(UTC), "inline"))
                self.process.receiver.receive(self.process.receiver.findable(taken))
            except Stopped:
                self._wake(envelope.id)
            except Exception as fault:  # noqa: BLE001 - `drain` raises it, or whoever waits for the outcome
                self._faults.append(fault)
                self._wake(envelope.id)
            finally:
                self._pending.task_done()
        self._pending.task_done()

    def _wake(self, operation_id: UUID) -> None:
        """End the wait of a request: there will be no outcome."""
        if self.process is not None and (waiters := self.process.resources.channels.get(inbox.CHANNEL)):
            waiters.hear(str(operation_id))


class Postbox(InlineQueue):
    """Keeps the commands: the test delivers them. Nobody listens to events."""

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Keep the message."""
        self.sent.append(as_delivered(envelope))

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Let them go."""
        return {envelope.id for envelope in envelopes}


def as_delivered(envelope: Envelope) -> Envelope:
    """The message after its way through a broker."""
    body, headers = json.loads(json.dumps([envelope.body, envelope.headers.as_json()]))
    return Envelope(UUID(str(envelope.id)), envelope.name, envelope.lane, body, Headers.parse(headers))
