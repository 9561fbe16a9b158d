"""Publishing with confirms: by the caller on a connection that is free, or by a thread, in batches.

Messages that arrive while one batch is confirmed form the next one. py-amqp's own confirmed publish waits for each
message separately: a round trip and a wake-up per message.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from amqp.exceptions import ChannelError, MessageNacked
from celery import Celery
from kombu import Connection, Producer

from tasks.broker import connect
from tasks.frames import Content, Fields, publish, read_at_once
from tasks.topology import ensure_topology

_BATCH = 64
_NONE = Fields({})
_TRUSTED_SECONDS = 2.0
"""The age from which a channel that refuses a message is replaced: see `_Channel._nacked`."""


@dataclass(frozen=True)
class Message:
    """The arguments of a publish.

    Attributes:
        properties: further arguments of kombu's `Producer.publish`.
        same: headers besides those of the properties, which many messages have.
    """

    body: bytes
    exchange: str
    routing_key: str
    properties: Mapping[str, Any]
    same: Fields = _NONE
    mandatory: bool = False


Question = Callable[[Connection], Any]
"""A query to the broker on a publisher's connection, between messages."""


@dataclass(eq=False)
class Publication:
    """A message to publish, or a query to the broker.

    Attributes:
        outcome: done when the broker has confirmed the message, or answered the question; failed with its refusal or
            the connection's error.
        refusal: the broker's, as long as a retry may follow.
    """

    message: Message | Question
    outcome: Future[Any] = field(default_factory=Future)
    refusal: Exception | None = None
    begun: float = field(default_factory=monotonic)


class Publishers:
    """Threads with a connection each. Threads and connections start with the first message.

    Args:
        confirm_seconds: how long a thread waits for the confirms of a batch. Callers may have given up earlier.
    """

    def __init__(self, app: Celery, threads: int, confirm_seconds: float) -> None:
        self._waiting: SimpleQueue[Publication | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._publishers = [_Publisher(app, confirm_seconds) for _ in range(threads)]

    def publish_at_once(self, publication: Publication, seconds: float) -> bool:
        """Publish it in the caller's thread, if a connection is open and free: handing it over takes two wake-ups.

        Args:
            seconds: how long to wait for the confirm.

        Returns:
            Whether it is settled. If not, it is still to be published.
        """
        for publisher in self._publishers:
            if publisher.is_taken():
                return publisher.publish_once(publication, seconds)
        return False

    def publish(self, publication: Publication) -> None:
        """Hand the publication to the first free thread."""
        if not self._threads:
            with self._lock:
                if not self._threads:
                    self._threads = [
                        threading.Thread(target=self._run, args=[publisher], name=f"publisher-{number}", daemon=True)
                        for number, publisher in enumerate(self._publishers)
                    ]
                    for thread in self._threads:
                        thread.start()
        self._waiting.put(publication)

    def close(self) -> None:
        """Publish what is pending, then stop the threads and close their connections."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _run(self, publisher: _Publisher) -> None:
        while batch := self._next_batch():
            publisher.publish(batch)
        publisher.close()

    def _next_batch(self) -> list[Publication]:
        """The next batch: at least one, unless the thread must stop; without those whose callers have given up."""
        batch: list[Publication] = []
        publication = self._waiting.get()
        while publication is not None:
            if publication.outcome.set_running_or_notify_cancel():
                batch.append(publication)
            if len(batch) == _BATCH:
                return batch
            try:
                publication = self._waiting.get_nowait()
            except Empty:
                if batch:
                    return batch
                publication = self._waiting.get()
        if batch:
            self._waiting.put(None)  # the stop mark is found again after this batch
        return batch


class _Publisher:
    """A connection, used by one thread at a time, and reopened after each fault."""

    def __init__(self, app: Celery, confirm_seconds: float) -> None:
        self._app = app
        self._confirm_seconds = confirm_seconds
        self._channel: _Channel | None = None
        self._used = threading.Lock()

    def is_taken(self) -> bool:
        """Take the connection for this thread, if it is open and free. Returns whether that was so."""
        if self._channel is None or not self._used.acquire(blocking=False):
            return False
        if not self._is_open():
            self._used.release()
            return False
        return True

    def publish_once(self, publication: Publication, seconds: float) -> bool:
        """Publish on the connection that this thread has taken, and give it back. Returns whether that settled it."""
        try:
            self._try([publication], min(seconds, self._confirm_seconds))
        finally:
            self._used.release()
        return publication.outcome.done()

    def publish(self, batch: Sequence[Publication]) -> None:
        """Settle every publication; retry failed ones once on a new connection, because the old one may have
        broken unnoticed, or a lane may have been deleted. After a timeout the messages may have arrived: then only
        another node is worth a try.
        """
        with self._used:
            fresh = not self._is_open()
            error = self._try(batch, self._confirm_seconds)
            left = _unsettled(batch)
            if left and not fresh and (self._app.nodes.several or not isinstance(error, TimeoutError)):
                error = self._try(left, self._confirm_seconds)
                left = _unsettled(left)
            for publication in left:
                publication.outcome.set_exception(publication.refusal or error or ConnectionError())

    def close(self) -> None:
        """Close the connection. read_timeout bounds the wait for an absent broker."""
        with self._used, suppress(Exception):
            if self._channel is not None:
                self._channel.connection.release()
            self._channel = None

    def _is_open(self) -> bool:
        if self._channel is not None and not self._app.nodes.prefers(self._channel.connection):
            self._drop()  # another thread found that this node is silent
        return self._channel is not None

    def _try(self, batch: Sequence[Publication], seconds: float) -> Exception | None:
        error: Exception | None = None
        try:
            if self._channel is None:
                self._channel = _Channel(self._app)
            self._channel.publish(batch, seconds)
        except Exception as fault:  # noqa: BLE001 - kombu's, amqp's, the socket's
            error = fault
        if self._channel is not None and (error or _unsettled(batch)):
            if isinstance(error, TimeoutError):
                self._app.nodes.fell_silent(self._channel.connection)
            self._drop()
        return error

    def _drop(self) -> None:
        """Close the socket only: a proper close would wait for a broker that does not answer."""
        if self._channel is not None:
            self._channel.connection.collect()
            self._channel = None


class _Channel:
    """A channel in confirm mode (https://www.rabbitmq.com/docs/confirms#publisher-confirms)."""

    def __init__(self, app: Celery) -> None:
        # Not kombu's confirmed publish: see the module's docstring.
        self.connection: Connection = app.connection_for_write(transport_options={"confirm_publish": False})
        try:
            connect(self.connection)
            app.nodes.answered(self.connection)
            ensure_topology(self.connection, app.conf.task_queues)
            self._producer = Producer(self.connection, auto_declare=False)
            self._confirms = self.connection.transport.driver_type == "amqp"
            self._opened = monotonic()
            self._published = 0
            self._bound = 0.0
            self._unconfirmed: dict[int, Publication] = {}
            if self._confirms:
                read_at_once(self.connection)
                channel = self._producer.channel
                channel.confirm_select()
                channel.events["basic_ack"].add(self._acked)
                channel.events["basic_nack"].add(self._nacked)
                channel.events["basic_return"].add(self._returned)
        except BaseException:
            self.connection.collect()
            raise

    def publish(self, batch: Sequence[Publication], seconds: float) -> None:
        """Publish all, then settle each as the broker confirms or refuses it. What cannot be routed stays open.

        Raises:
            TimeoutError: some confirms did not arrive in time.
            Exception: kombu's or amqp's, if the connection or the channel has ended.
        """
        ends_at = monotonic() + seconds
        self._bound_waits(seconds)
        for publication in batch:
            publication.refusal = None
            self._publish(publication)
        while self._unconfirmed:
            self.connection.drain_events()
            if self._unconfirmed:
                self._bound_waits(max(ends_at - monotonic(), 0.001))

    def _bound_waits(self, seconds: float) -> None:
        """How long the socket waits for the broker: to write a message, and to read what has arrived."""
        if self._confirms and seconds != self._bound:
            self.connection.connection.transport.sock.settimeout(seconds)
            self._bound = seconds

    def _publish(self, publication: Publication) -> None:
        message, answer = publication.message, None
        if not isinstance(message, Message):
            answer = message(self.connection)
        elif self._confirms:
            content = Content(message.body, message.properties, message.same)
            publish(self._producer.channel, content, message.exchange, message.routing_key, mandatory=message.mandatory)
            self._published += 1
            self._unconfirmed[self._published] = publication
            return
        else:
            headers = {**message.same.values, **message.properties.get("headers", {})}
            self._producer.publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                mandatory=message.mandatory,
                retry=False,
                **{**message.properties, "headers": headers},
            )
        publication.outcome.set_result(answer)

    def _acked(self, delivery_tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp's signature
        for publication in self._take(delivery_tag, multiple=multiple):
            if publication.refusal is None:
                publication.outcome.set_result(None)

    def _nacked(self, delivery_tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp's signature
        """The lane is full: another try would be refused as well, and the others of the batch wait for none.

        Or a node is down: then RabbitMQ refuses what comes by a channel from before the queue had a new leader, until
        that node is back. So an older channel is replaced before the refusal counts.
        """
        for publication in self._take(delivery_tag, multiple=multiple):
            if monotonic() - self._opened > _TRUSTED_SECONDS:
                publication.refusal = MessageNacked()
            else:
                publication.outcome.set_exception(MessageNacked())

    def _take(self, delivery_tag: int, *, multiple: bool) -> list[Publication]:
        tags = [tag for tag in self._unconfirmed if tag <= delivery_tag] if multiple else [delivery_tag]
        return [self._unconfirmed.pop(tag) for tag in tags if tag in self._unconfirmed]

    def _returned(self, error: ChannelError, _exchange: str, _routing_key: str, message: Any) -> None:
        """RabbitMQ returns a message that it cannot route, and then confirms it nevertheless."""
        returned = message.properties.get("correlation_id")
        for publication in self._unconfirmed.values():
            sent = publication.message
            if isinstance(sent, Message) and sent.properties.get("correlation_id") == returned:
                publication.refusal = error


def _unsettled(batch: Sequence[Publication]) -> list[Publication]:
    return [publication for publication in batch if not publication.outcome.done()]
