"""The worker's consumer: it dead-letters every malformed message, and logs only its ids.

Celery's own consumer acknowledges (and so loses) what it cannot decode, logs whole bodies, and its main
process stops on several kinds of malformed messages, each of which then stops the next worker.

It takes no message from a paused lane. A message that it took before, and that no process has started, is held
here until the lane is resumed: returning it would count against its deliveries.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from time import monotonic, sleep
from typing import Any

import structlog
from amqp.exceptions import AccessRefused, ConnectionForced, NotFound
from celery.signals import worker_shutdown
from celery.utils.time import maybe_iso8601
from celery.worker import state
from celery.worker.consumer.consumer import Consumer

from backend.kernel.delivery.codec import LARGEST_BODY
from backend.kernel.messages.registry import Handler
from backend.kernel.observe.memory import memory_of
from backend.kernel.observe.workers import Report
from tasks.batches import MOST, Batch, may_share
from tasks.broker import why_away
from tasks.health import serve
from tasks.reporting import Reporter, Standstill, busy, held, taken
from tasks.topology import declare_delays, declare_topology, ensure_delays
from tasks.watch import Watch

log = structlog.get_logger(__name__)


_TIMES = ("eta", "expires")
MOST_BYTES = 4 * LARGEST_BODY
"""Of a message. Celery sends a message again with escapes, which take up to three times as many bytes."""
_MOST_TRIES = 2**31
_LONGEST_WAIT = 30
"""Seconds between two tries to connect to a broker that refuses; as long as Celery waits for one that is away."""
_NEVER_SENT = ("compression", "group", "shadow")
"""Headers that Celery obeys: it takes a task for the one that `shadow` names, and decompresses without a bound."""
_DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class SafeConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, for messages that must not be lost."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        """Celery's steps without the one that declares the queues for delays at every address of the broker: it waits
        for each that is dead, though the nodes share their queues.
        """

        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if step != _DELAYED_DELIVERY)

    def __init__(self, on_task_request: Callable[[Any], None], *args: Any, **kwargs: Any) -> None:
        # Workers need nothing of each other, and their account may not declare the queues for it.
        super().__init__(self._start_in_turn, *args, without_mingle=True, without_gossip=True, **kwargs)
        # A permission that was taken away, an exchange that was deleted: Celery would end the worker.
        self.connection_errors: tuple[Any, ...] = (*self.connection_errors, AccessRefused, NotFound)
        self._start_at_once = on_task_request
        self.lanes: tuple[str, ...] = ()
        self.reporter = Reporter(self.app, self.hostname, self._report, self._ask_for_a_look)
        self.standstill = Standstill(self._is_still)
        self._watch = Watch(self.app, lambda: self.connection)
        self._started_at = datetime.now(UTC)
        self._asked_for_a_look = False
        self._held_back: list[Any] = []
        self._refusals = 0
        self._refused_at = 0.0
        self._wide: set[str] = set()
        worker_shutdown.connect(self._take_leave)

    def connect(self) -> Any:
        """A connection to a broker with everything declared: a worker may be the first to connect."""
        try:
            connection = super().connect()
        except AccessRefused as refusal:  # a refused password; Celery takes it for a channel's fault, and ends
            raise ConnectionRefusedError(why_away(refusal)) from None
        self.app.nodes.answered(connection)
        declare_topology(connection, self.app.conf.task_queues)
        with self.app.connection_for_write() as passing:  # kombu leaves a channel open for each queue
            (ensure_delays if self.lanes else declare_delays)(passing, self.app.conf.task_queues)
        self.lanes = self.lanes or tuple(self.app.amqp.queues.consume_from)
        self._held_back.clear()  # they came by the connection before, and are delivered again
        self._wide.clear()
        if not self.reporter.started:
            serve(self)
            self._watch.start()
        self.reporter.start()
        self.app.amqp.queues.deselect(self.reporter.paused)
        return connection

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait longer after each refusal: no such vhost, a wrong password, no permission. kombu takes these for final,
        and Celery tries again at once; they wait only for a broker that cannot be reached.
        """
        super().on_connection_error_before_connected(exc)
        if isinstance(exc, TimeoutError):  # a node that is silent has cost its time already, and another one may answer
            return
        self._wait_longer()

    def _wait_longer(self) -> None:
        """Wait two seconds more than after the refusal before, unless that was long ago."""
        since, self._refused_at = monotonic() - self._refused_at, monotonic()
        self._refusals = self._refusals + 1 if since < 2 * _LONGEST_WAIT else 1
        for _ in range(min(2 * self._refusals, _LONGEST_WAIT)):
            if _stops():
                return
            sleep(1)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the connection of the events as well: a silent node would not answer its closing either. What lets us in
        and then refuses is tried again as above.
        """
        if isinstance(exc, AccessRefused | NotFound):
            log.warning("RabbitMQ refused", reason=exc.reply_text)
            self._wait_longer()
        if isinstance(exc, ConnectionForced | TimeoutError):  # no heartbeat came
            self.app.nodes.fell_silent(self.connection)
        super().on_connection_error_after_connected(exc)
        if self.event_dispatcher is not None and self.event_dispatcher.connection is not None:
            self.event_dispatcher.connection.collect()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler, with a check of the message's form before it and a safety net after it."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            reason = malformed(message)
            if reason:
                self._bury(message, reason)
                return
            try:
                handle(message)
            except (*self.connection_errors, MemoryError):
                raise  # not the message's fault: it is redelivered
            except Exception as error:  # noqa: BLE001 - otherwise the worker's main process ends
                self._bury(message, type(error).__name__)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body is not what the headers say."""
        self._bury(message, type(exc).__name__)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """The message is not a task."""
        self._bury(message, "not a task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """No handler has the message's name."""
        self._bury(message, "unknown task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """The headers are invalid."""
        self._bury(message, type(exc).__name__)

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection of the events for Flower, without confirms.

        On the thread pool, waiting for confirms deadlocks, and losing an event does no harm.
        """
        options = {**self.app.conf.broker_transport_options, "confirm_publish": False}
        connection = self.app.connection_for_write(url=url, heartbeat=heartbeat, transport_options=options)
        return self.ensure_connected(connection)

    def _start_in_turn(self, request: Any) -> None:
        """Give the request to the next free process."""
        if self._slots is None:
            self._start_at_once(request)
            return
        self._slots.acquire(self._start, request)
        lane = self.app.lane_of(request.name)
        if lane not in self._wide and may_share(self._handler_of(request), request):
            in_lane = (one for one in taken() if self.app.lane_of(one.name) == lane)
            if not any(one.delivery_info["redelivered"] for one in in_lane):
                self._wide.add(lane)
                self.call_soon(self._widen, lane)

    def _handler_of(self, request: Any) -> Handler | None:
        found: Handler | None = self.app.program.registry.by_name.get(request.name)
        return found

    def _start(self, request: Any) -> None:
        """Give the request to a free process, with the neighbours that wait in its lane."""
        neighbours = self._neighbours(request)
        if neighbours:
            Batch([request, *neighbours], self._start_alone).execute_using_pool(self.pool)
        else:
            self.controller._process_task(request)  # noqa: SLF001 - what Celery's own `on_task_request` does

    def _start_alone(self, request: Any) -> None:
        self._slots.acquire(self.controller._process_task, request)  # noqa: SLF001 - as above

    def _neighbours(self, request: Any) -> list[Any]:
        """The requests to execute together with this one. They no longer wait."""
        waiting = self._slots._waiting  # noqa: SLF001 - its only record of who waits for a process
        if not waiting or not may_share(self._handler_of(request), request):
            return []
        lane = self.app.lane_of(request.name)
        chosen = list(islice((waiter for waiter in waiting if self._may_join(waiter, lane)), MOST - 1))
        for waiter in chosen:
            waiting.remove(waiter)
        return [neighbour for _, (neighbour,), _ in chosen]

    def _may_join(self, waiter: Any, lane: str) -> bool:
        start, (request, *_), _ = waiter
        return start == self._start and self._lane_of(waiter) == lane and may_share(self._handler_of(request), request)

    def _widen(self, lane: str) -> None:
        """Take enough messages of a lane for a batch for each process, and for the next one.

        A lane starts with one per process: RabbitMQ counts a delivery for each message that this worker has when it is
        killed. It stays so while the worker has one that was delivered before, which may have killed a worker.
        """
        consumer = self.task_consumer
        if consumer is None or _stops() or not consumer.consuming_from(lane):
            self._wide.discard(lane)
            return
        consumer.channel.basic_qos(0, MOST * (self.controller.concurrency + 1), a_global=False)
        consumer.cancel_by_queue(lane)  # a quorum queue applies a prefetch to new consumers only
        consumer.add_queue(self.app.amqp.queues[lane])
        consumer.consume()
        consumer.channel.basic_qos(0, self.initial_prefetch_count, a_global=False)

    @property
    def _slots(self) -> Any:
        """The free processes of a prefork pool, and who waits for one; None for another pool, which frees none."""
        return self.controller.semaphore if self.controller.pool_cls.uses_semaphore else None

    def _ask_for_a_look(self) -> None:
        """Make the main thread apply the pauses: it owns the connection."""
        if not self._asked_for_a_look:
            self._asked_for_a_look = True
            self.call_soon(self._look_at_pauses)

    def _look_at_pauses(self) -> None:
        self._asked_for_a_look = False
        # Celery runs this once more while the worker stops: it must not consume again.
        if self.task_consumer is None or _stops():
            return
        paused = self.reporter.paused
        for lane in self.lanes:
            if lane in paused and self.task_consumer.consuming_from(lane):
                self.cancel_task_queue(lane)
                self._wide.discard(lane)
            elif lane not in paused and not self.task_consumer.consuming_from(lane):
                self.add_task_queue(lane)
        self._hold_back(paused)

    def _hold_back(self, paused: frozenset[str]) -> None:
        """Hold back taken messages of paused lanes, and release those of resumed ones."""
        slots = self._slots
        if slots is None:  # not prefork: what was taken has begun
            return
        waiting = [*self._held_back, *slots._waiting]  # noqa: SLF001 - its only record of who waits for a process
        slots._waiting.clear()  # noqa: SLF001
        self._held_back = [waiter for waiter in waiting if self._lane_of(waiter) in paused]
        for waiter in waiting:
            if waiter not in self._held_back:
                process_task, arguments, options = waiter
                slots.acquire(process_task, *arguments, **options)

    def _lane_of(self, waiter: Any) -> str:
        _, (request, *_), _ = waiter
        return str(self.app.lane_of(request.name))

    def _report(self) -> Report:
        children = getattr(getattr(self.pool, "_pool", None), "_pool", ())  # of prefork
        return Report(
            self.hostname,
            list(self.lanes),
            busy(),
            held(self.app.lane_of),
            self.controller.concurrency,
            memory_of([os.getpid(), *(child.pid for child in children)]),
            self._started_at,
            self.standstill.look(),
        )

    def _is_still(self) -> bool:
        return not busy() and any(self.app.lane_of(one.name) not in self.reporter.paused for one in taken())

    def _take_leave(self, **_: Any) -> None:
        self._watch.stop()
        self.reporter.stop()

    def _bury(self, message: Any, reason: str) -> None:
        log.error("message dead-lettered", reason=reason, **_identity(message))
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)


def malformed(message: Any) -> str | None:
    """Why Celery could not handle the message, or must not; None if it can."""
    if (reason := _malformed_headers(message.headers)) is not None:
        return reason
    if len(message.body) > MOST_BYTES:
        return "too large"
    try:
        payload = message.payload
    except Exception as error:  # noqa: BLE001 - decoders raise what they like
        return type(error).__name__
    match payload:
        case [[], dict(), dict() as further] if not any(further.values()):  # tasks that Celery would start afterwards
            return None
        case _:
            return "no keyword arguments"


def _malformed_headers(headers: Any) -> str | None:
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
        return "no task name"
    if not isinstance(headers.get("id"), str):
        return "no message id"
    if any(headers.get(name) is not None for name in _NEVER_SENT):
        return "a header that none of our processes sends"
    if not _is_number_of_tries(headers.get("retries") or 0) or not all(_is_time(headers.get(name)) for name in _TIMES):
        return "no number of tries, or no time"
    match headers.get("timelimit") or [None, None]:
        case [hard, soft] if _is_limit(hard) and _is_limit(soft):
            return None
        case _:
            return "no time limit"


def _stops() -> bool:
    """Whether this worker stops: Celery's flags are None or False until then, and may be the exit code 0."""
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))


def _is_number_of_tries(tries: Any) -> bool:
    """A negative one would be tried nearly for ever, and a huge one cannot be sent again with one more."""
    return isinstance(tries, int) and 0 <= tries < _MOST_TRIES


def _is_limit(limit: Any) -> bool:
    return limit is None or (isinstance(limit, int | float) and not isinstance(limit, bool))


def _is_time(text: Any) -> bool:
    try:
        maybe_iso8601(text)
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def _identity(message: Any) -> dict[str, str]:
    headers = message.headers if isinstance(message.headers, dict) else {}
    info = message.delivery_info or {}
    return {
        "task": str(headers.get("task"))[:100],
        "message_id": str(headers.get("id"))[:100],
        "queue": str(info.get("routing_key"))[:100],
    }
