"""The port `Queue` over Celery's broker: every publish is confirmed, within one hard deadline.

A publish may hang for seconds despite its timeouts (a stalled broker, a memory alarm). So the caller publishes
only on a connection that is open and free, within a deadline of the socket. All else is left to publisher
threads: then it waits for the outcome, not for the broker.
A publish that succeeds after its caller gave up is harmless: the message id is the inbox's key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID
from weakref import WeakSet

import msgspec
import structlog
from amqp.exceptions import ChannelError, MessageNacked
from kombu import Connection
from opentelemetry.trace import SpanKind

from backend.kernel.breaker import Breaker
from backend.kernel.delivery.envelope import (
    EVENTS_EXCHANGE,
    Depth,
    Envelope,
    LaneFull,
    MessageRefused,
    QueueUnavailable,
)
from backend.kernel.observe import metrics
from backend.kernel.observe.tracing import part
from tasks.broker import connect, why_away
from tasks.delivery import check_delivery
from tasks.frames import Fields
from tasks.lanes import COMMANDS
from tasks.publisher import Message, Publication, Publishers, Question
from tasks.redaction import representation

_REFUSALS = (ChannelError, MessageNacked)
"""The broker answers, but cannot take this message: its lane is missing or full. Other lanes may work."""
_SENDS = {"messaging_system": "rabbitmq", "messaging_operation_name": "send", "messaging_operation_type": "send"}
_ALWAYS_SENT = ("parent_id", "group")
"""Headers that Celery's protocol requires, although they are empty."""
_DEPTHS_SECONDS = 2.0
"""How long the depths of lanes are cached."""

log = structlog.get_logger(__name__)


class CeleryQueue:
    """`Queue` for this process. Threads and connections start with the first publish, so never before a fork.

    Args:
        threads: the publisher threads, with a connection each. While one waits for confirms, another is free.
        confirm_seconds: how long they wait for the confirms of a batch.
        open_seconds: how long the breaker stays open after a failure.
        most_waiting: publishes that may wait for a thread; more of them means that the broker is too slow.
    """

    def __init__(
        self,
        app: Any,
        *,
        threads: int = 2,
        confirm_seconds: float = 2,
        open_seconds: float = 1,
        most_waiting: int = 512,
    ) -> None:
        check_delivery(app)
        self._app = app
        self._threads = threads
        self._confirm_seconds = confirm_seconds
        self._open_seconds = open_seconds
        self._most_waiting = most_waiting
        self._begin()
        _queues.add(self)

    def _begin(self) -> None:
        self._breaker = Breaker("broker", self._open_seconds)
        self._waiting = threading.BoundedSemaphore(self._most_waiting)
        self._publishers = Publishers(self._app, self._threads, self._confirm_seconds)
        self._asking = threading.Lock()
        self._depths: Mapping[str, Depth] = {}
        self._depths_until = 0.0
        self._templates: dict[str, tuple[Fields, Mapping[str, Any]]] = {}

    @property
    def breaker_open(self) -> bool:
        """Whether the breaker is open."""
        return self._breaker.is_open

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Send the message to its lane, as a Celery task."""
        with part(f"send {envelope.name}", SpanKind.PRODUCER, **_SENDS, messaging_destination_name=envelope.lane):
            until = monotonic() + deadline
            publication = self._begun(self._message(envelope))
            if not self._publishers.publish_at_once(publication, deadline) and monotonic() < until:
                self._publishers.publish(publication)
            self._await(publication, until)

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Send several at once, and events: no queue may be bound for them, so none of these is mandatory."""
        until = monotonic() + deadline
        begun: dict[UUID, Publication] = {}
        confirmed: set[UUID] = set()
        with part("send messages", SpanKind.PRODUCER, **_SENDS, messaging_destination_name=COMMANDS):
            for envelope in envelopes:
                if envelope.lane == EVENTS_EXCHANGE and not self._app.conf.broker_transport_options.get(
                    "confirm_publish"
                ):
                    confirmed.add(envelope.id)  # the embedded broker has no other programs
                    continue
                with suppress(QueueUnavailable):
                    begun[envelope.id] = self._handed_over(self._begun(self._message(envelope)))
            for message_id, publication in begun.items():
                with suppress(QueueUnavailable):
                    self._await(publication, until)
                    confirmed.add(message_id)
        return confirmed

    def depths(self, lanes: Sequence[str], deadline: float) -> Mapping[str, Depth]:
        """Query all lanes at once, unless that was done a moment ago."""
        with self._asking:
            if monotonic() > self._depths_until:
                if not self._breaker.allows():
                    raise QueueUnavailable("the broker did not answer a moment ago")
                asked = self._handed_over(self._counted(Publication(partial(_depths, tuple(lanes)))))
                self._depths = self._await(asked, monotonic() + deadline)
                self._depths_until = monotonic() + _DEPTHS_SECONDS
            return self._depths

    def check(self, deadline: float) -> None:
        """Check that the broker answers."""
        self._await(self._handed_over(self._counted(Publication(_look))), monotonic() + deadline)

    def why_away(self) -> str:
        """Connect, as whoever publishes would have to if its connection ended now."""
        connection = self._app.connection_for_write()
        try:
            connect(connection)
        except Exception as error:  # noqa: BLE001 - kombu's, amqp's, the socket's
            return why_away(error)
        finally:
            connection.release()
        return ""

    def close(self) -> None:
        """Publish what is pending, then stop the publisher threads and close their connections."""
        self._publishers.close()

    def _begun(self, message: Message) -> Publication:
        if not self._breaker.allows():
            raise QueueUnavailable("the broker did not answer a moment ago")
        return self._counted(Publication(message))

    def _counted(self, publication: Publication) -> Publication:
        if not self._waiting.acquire(blocking=False):
            raise QueueUnavailable("too many messages wait to be published")
        publication.outcome.add_done_callback(partial(self._settled, publication))
        return publication

    def _handed_over(self, publication: Publication) -> Publication:
        self._publishers.publish(publication)
        return publication

    def _await(self, publication: Publication, until: float) -> Any:
        try:
            return publication.outcome.result(max(until - monotonic(), 0))
        except Late:
            publication.outcome.cancel()
            self._breaker.failed()
            raise QueueUnavailable("the broker did not confirm in time") from None
        except MessageNacked:
            if self._is_bounded(publication.message):
                raise LaneFull from None
            raise MessageRefused("the broker refused the message") from None
        except Exception as error:  # noqa: BLE001 - kombu's, amqp's: the caller spools in any case
            # kombu wraps them all in one type: a refused connection and a silent network differ for who looks for it.
            cause = error.__cause__ or error
            log.warning("the broker did not answer", reason=type(cause).__name__)
            raise QueueUnavailable(why_away(cause)) from None

    def _is_bounded(self, message: Message | Question) -> bool:
        queue = self._app.amqp.queues.get(message.routing_key) if isinstance(message, Message) else None
        return queue is not None and "x-max-length" in (queue.queue_arguments or {})

    def _settled(self, publication: Publication, outcome: Future[None]) -> None:
        self._waiting.release()
        if outcome.cancelled():
            return
        error = outcome.exception()
        if error is None and isinstance(publication.message, Message):
            metrics.message_published(monotonic() - publication.begun)
        if error is None or isinstance(error, _REFUSALS):
            self._breaker.succeeded()
        else:
            self._breaker.failed()

    def _message(self, envelope: Envelope) -> Message:
        return _event(envelope) if envelope.lane == EVENTS_EXCHANGE else self._task(envelope)

    def _task(self, envelope: Envelope) -> Message:
        message_id, arguments = str(envelope.id), dict(envelope.body)
        same, embedded = self._templates.get(envelope.name) or self._template(envelope.name)
        headers = {
            "id": message_id,
            "root_id": message_id,
            "kwargsrepr": representation(arguments),
            "envelope": envelope.headers.as_json(),
        }
        properties = {
            "headers": headers,
            "correlation_id": message_id,
            "content_type": "application/json",
            "content_encoding": "utf-8",
        }
        body = msgspec.json.encode(((), arguments, embedded))
        return Message(body, COMMANDS, envelope.lane, properties, same, mandatory=True)

    def _template(self, name: str) -> tuple[Fields, Mapping[str, Any]]:
        """The headers and the options that Celery gives to each message of this name. Optional headers that are empty
        are left out (https://docs.celeryq.dev/en/stable/internals/protocol.html#definition).
        """
        headers, _, (_, _, embedded), _ = self._app.amqp.as_task_v2("", name)
        own = ("id", "root_id", "kwargsrepr")
        sent = {key: value for key, value in headers.items() if value or value == 0 or key in _ALWAYS_SENT}
        same = Fields({key: value for key, value in sent.items() if key not in own})
        self._templates[name] = same, embedded
        return same, embedded


_queues: WeakSet[CeleryQueue] = WeakSet()


def _begin_again() -> None:
    """Start again after a fork: a child has the parent's locks, in any state, and sockets, but none of its threads."""
    for queue in _queues:
        queue._begin()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_begin_again)


def _look(broker: Connection) -> None:
    if broker.transport.driver_type == "amqp":
        broker.default_channel.exchange_declare(COMMANDS, "topic", passive=True)


def _depths(lanes: Sequence[str], broker: Connection) -> dict[str, Depth]:
    counts_consumers = broker.transport.driver_type == "amqp"
    declared = {lane: broker.default_channel.queue_declare(lane, passive=True) for lane in lanes}
    return {
        lane: Depth(found.message_count, found.consumer_count if counts_consumers else None)
        for lane, found in declared.items()
    }


def _event(envelope: Envelope) -> Message:
    properties = {
        "content_type": "application/cloudevents+json",
        "content_encoding": "utf-8",
        "message_id": str(envelope.id),
    }
    return Message(msgspec.json.encode(envelope.body), EVENTS_EXCHANGE, envelope.name, properties)
