"""The `Queue` port over Celery's broker: every publish is confirmed, and bounded by one hard deadline.

A publish may hang for seconds whatever its timeouts say (a stalled broker, a memory alarm). So publisher
threads own the connections and the caller waits for the outcome, not for the broker.
What succeeds after its caller gave up is harmless: the message id is the inbox's key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from time import monotonic
from typing import Any
from weakref import WeakSet

import msgspec
import structlog
from amqp.exceptions import ChannelError, MessageNacked
from kombu.serialization import dumps

import celeryconfig
from backend.shared.application.messages import Envelope, QueueUnavailable
from backend.shared.infrastructure import metrics
from backend.shared.infrastructure.outbox import EVENTS_EXCHANGE
from tasks.app import app
from tasks.delivery import check_delivery
from tasks.publisher import Message, Publication, Publishers

_MOST_WAITING = 512
"""Publishes that may wait for a thread; more means that the broker does not keep up."""
_OPEN_SECONDS = 1.0
_REFUSALS = (ChannelError, MessageNacked)
"""The broker answers, but not for this message: its lane is gone or full. Other lanes may well work."""

log = structlog.get_logger(__name__)


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
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._publishers = Publishers()

    @property
    def breaker_open(self) -> bool:
        """Whether publishes fail at once at present."""
        return self._breaker.is_open

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Hand the message to its lane, as a Celery task."""
        self._publish(_task(envelope), deadline)

    def announce(self, routing_key: str, cloud_event: Mapping[str, Any], deadline: float) -> None:
        """Publish the event for whoever bound a queue; nobody may have, so it is not mandatory."""
        if app.conf.broker_transport_options.get("confirm_publish"):
            self._publish(_announcement(routing_key, cloud_event), deadline)

    def check(self, deadline: float) -> None:
        """Ask whether the broker answers."""
        self._settle(Publication(None), deadline)

    def close(self) -> None:
        """End the publisher threads once they have published what waits, and their connections."""
        self._publishers.close()

    def _publish(self, message: Message, deadline: float) -> None:
        if not self._breaker.allows():
            raise QueueUnavailable("the broker did not answer a moment ago")
        self._settle(Publication(message), deadline)

    def _settle(self, publication: Publication, deadline: float) -> None:
        if not self._waiting.acquire(blocking=False):
            raise QueueUnavailable("too many messages wait to be published")
        publication.outcome.add_done_callback(self._settled)
        self._publishers.publish(publication)
        try:
            publication.outcome.result(deadline)
        except Late:
            publication.outcome.cancel()
            self._breaker.failed()
            raise QueueUnavailable("the broker did not confirm in time") from None
        except Exception as error:  # noqa: BLE001 - kombu's, amqp's: the caller spools in any case
            log.warning("publish failed", reason=type(error).__name__)
            raise QueueUnavailable("the broker did not take the message") from None

    def _settled(self, outcome: Future[None]) -> None:
        self._waiting.release()
        if outcome.cancelled():
            return
        error = outcome.exception()
        if error is None or isinstance(error, _REFUSALS):
            self._breaker.succeeded()
        else:
            self._breaker.failed()


_queues: WeakSet[CeleryQueue] = WeakSet()


def _begin_again() -> None:
    """A child has the parent's locks as they were, and none of its threads; the connections are the parent's."""
    for queue in _queues:
        queue._begin()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_begin_again)


def _task(envelope: Envelope) -> Message:
    message_id = str(envelope.id)
    headers, properties, body, _ = app.amqp.as_task_v2(message_id, envelope.name, kwargs=dict(envelope.body))
    content_type, content_encoding, encoded = dumps(body, serializer="json")
    properties |= {
        "headers": {**headers, "envelope": dict(envelope.headers)},
        "content_type": content_type,
        "content_encoding": content_encoding,
    }
    return Message(encoded, celeryconfig.COMMANDS, envelope.queue, properties, mandatory=True)


def _announcement(routing_key: str, cloud_event: Mapping[str, Any]) -> Message:
    properties = {
        "content_type": "application/cloudevents+json",
        "content_encoding": "utf-8",
        "message_id": cloud_event["id"],
    }
    return Message(msgspec.json.encode(cloud_event), EVENTS_EXCHANGE, routing_key, properties)
