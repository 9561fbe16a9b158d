"""The `Queue` port over Celery's broker: every publish is confirmed, and bounded by one hard deadline.

A publish may hang for seconds whatever its timeouts say (a stalled broker, a memory alarm). So a
few publisher threads own the connections and the caller waits for the outcome, not for the broker.
What succeeds after its caller gave up is harmless: the message id is the inbox's key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from time import monotonic
from typing import Any
from weakref import WeakSet

import msgspec
import structlog
from amqp.exceptions import ChannelError, MessageNacked
from kombu import Connection, Producer

import celeryconfig
from backend.shared.application.messages import Envelope, QueueUnavailable
from backend.shared.infrastructure import metrics
from backend.shared.infrastructure.outbox import EVENTS_EXCHANGE
from tasks.app import app
from tasks.delivery import check_delivery
from tasks.topology import declare_topology

_THREADS = 4
_MOST_WAITING = 512
"""Publishes that may wait for a thread; more means that the broker does not keep up."""
_OPEN_SECONDS = 1.0
_CONFIRM_SECONDS = 2
"""How long a publisher thread waits for a confirm. Its caller may have given up before."""
_REFUSALS = (ChannelError, MessageNacked)
"""The broker answers, but not for this message: its lane is gone or full. Other lanes may well work."""

log = structlog.get_logger()


class Breaker:
    """After a failure callers are spared the wait: for a while all fail at once, then one tries.

    Args:
        seconds: how long, before the next try.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._retry_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once."""
        return self._retry_at is not None

    def allows(self) -> bool:
        """Whether the caller may try. Each try while open postpones the next one."""
        if not self.is_open:
            return True
        with self._lock:
            now = monotonic()
            if self._retry_at is not None:
                if now < self._retry_at:
                    return False
                self._retry_at = now + self._seconds
            return True

    def succeeded(self) -> None:
        """The broker answers."""
        if self.is_open:
            with self._lock:
                self._retry_at = None
            metrics.set_breaker_open(False)

    def failed(self) -> None:
        """The broker did not answer."""
        with self._lock:
            self._retry_at = monotonic() + self._seconds
        metrics.set_breaker_open(True)


class CeleryQueue:
    """`Queue` for this process. Threads and connections come with the first publish, so never before a fork."""

    def __init__(self) -> None:
        check_delivery(app.conf)
        self._begin()
        _queues.add(self)

    def _begin(self) -> None:
        self._breaker = Breaker(_OPEN_SECONDS)
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._connections: set[Connection] = set()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._executor: ThreadPoolExecutor | None = None

    @property
    def breaker_open(self) -> bool:
        """Whether publishes fail at once at present."""
        return self._breaker.is_open

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Hand the message to its lane, as a Celery task."""
        self._within(deadline, lambda: self._with_producer(lambda producer: _send(producer, envelope)))

    def announce(self, routing_key: str, cloud_event: Mapping[str, Any], deadline: float) -> None:
        """Publish the event for whoever bound a queue; nobody may have, so it is not mandatory."""
        if app.conf.broker_transport_options.get("confirm_publish"):
            self._within(
                deadline, lambda: self._with_producer(lambda producer: _announce(producer, routing_key, cloud_event))
            )

    def check(self, deadline: float) -> None:
        """Ask whether the broker answers."""
        self._within(deadline, lambda: self._with_producer(_ask), through_breaker=False)

    def close(self) -> None:
        """End the publisher threads once they have published what waits, and their connections."""
        if self._executor is not None:
            self._executor.shutdown()
        for connection in self._connections.copy():
            with suppress(Exception):  # whoever stays away at the end is not waited for: read_timeout bounds it
                connection.release()
        self._connections.clear()

    def _within(self, deadline: float, work: Callable[[], None], *, through_breaker: bool = True) -> None:
        if through_breaker and not self._breaker.allows():
            raise QueueUnavailable("the broker did not answer a moment ago")
        if not self._waiting.acquire(blocking=False):
            raise QueueUnavailable("too many messages wait to be published")
        publishing = self._publishers().submit(work)
        publishing.add_done_callback(self._settled)
        try:
            publishing.result(deadline)
        except Late:
            publishing.cancel()
            self._breaker.failed()
            raise QueueUnavailable("the broker did not confirm in time") from None
        except Exception as error:  # noqa: BLE001 - kombu's, amqp's, the encoder's: the caller spools in any case
            log.warning("publish failed", reason=type(error).__name__)
            raise QueueUnavailable("the broker did not take the message") from None

    def _settled(self, publishing: Future[None]) -> None:
        self._waiting.release()
        if publishing.cancelled():
            return
        error = publishing.exception()
        if error is None or isinstance(error, _REFUSALS):
            self._breaker.succeeded()
        else:
            self._breaker.failed()

    def _publishers(self) -> ThreadPoolExecutor:
        if self._executor is None:
            with self._lock:
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="publisher")
        return self._executor

    def _with_producer(self, publish: Callable[[Producer], None]) -> None:
        """On this thread's connection; once more on a new one, for the old may have died unnoticed."""
        fresh = getattr(self._threads, "producer", None) is None
        try:
            publish(self._producer())
        except Exception as error:
            self._discard()
            if fresh or isinstance(error, TimeoutError):  # the caller is gone, and the message may have arrived
                raise
            try:
                publish(self._producer())
            except Exception:
                self._discard()
                raise

    def _producer(self) -> Producer:
        producer = getattr(self._threads, "producer", None)
        if producer is None:
            connection: Connection = app.connection_for_write()
            self._threads.connection = connection
            self._connections.add(connection)
            connection.connect()
            declare_topology(connection)
            producer = self._threads.producer = Producer(connection, auto_declare=False)
        return producer

    def _discard(self) -> None:
        self._threads.producer = None
        connection, self._threads.connection = getattr(self._threads, "connection", None), None
        if connection is not None:
            # Drops the socket: a polite close would wait for the broker that does not answer.
            connection.collect()
            self._connections.discard(connection)


_queues: WeakSet[CeleryQueue] = WeakSet()


def _begin_again() -> None:
    """A child has the parent's locks as they were, and none of its threads; the connections are the parent's."""
    for queue in _queues:
        queue._begin()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_begin_again)


def _send(producer: Producer, envelope: Envelope) -> None:
    message_id = str(envelope.id)
    headers, properties, body, _ = app.amqp.as_task_v2(message_id, envelope.name, kwargs=dict(envelope.body))
    producer.publish(
        body,
        exchange=celeryconfig.COMMANDS,
        routing_key=envelope.queue,
        headers={**headers, "envelope": dict(envelope.headers)},
        serializer="json",
        delivery_mode="persistent",
        mandatory=True,
        confirm_timeout=_CONFIRM_SECONDS,
        retry=False,
        **properties,
    )


def _announce(producer: Producer, routing_key: str, cloud_event: Mapping[str, Any]) -> None:
    producer.publish(
        msgspec.json.encode(cloud_event),
        exchange=EVENTS_EXCHANGE,
        routing_key=routing_key,
        content_type="application/cloudevents+json",
        content_encoding="utf-8",
        delivery_mode="persistent",
        confirm_timeout=_CONFIRM_SECONDS,
        retry=False,
        message_id=cloud_event["id"],
    )


def _ask(producer: Producer) -> None:
    if producer.connection.transport.driver_type == "amqp":
        producer.channel.exchange_declare(celeryconfig.COMMANDS, "topic", passive=True)
