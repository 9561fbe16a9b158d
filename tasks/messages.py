"""One task per handler. A task hands its message to the receiver, and retries or dead-letters it after a fault."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, Task
from celery.exceptions import Reject, Retry, WorkerShutdown, WorkerTerminate

from backend.kernel.delivery.codec import Expired, Undecodable
from backend.kernel.delivery.dead_letters import Reason
from backend.kernel.delivery.envelope import Envelope, Headers, MalformedHeaders, Taking
from backend.kernel.delivery.pauses import Paused
from backend.kernel.delivery.receive import in_its_trace
from backend.kernel.delivery.sealing import Forged, UnknownKey
from backend.kernel.messages.away import Away
from backend.kernel.messages.registry import Handler
from backend.kernel.observe import metrics
from backend.kernel.observe.logging import bind_request, end_request
from backend.kernel.observe.tracing import current_traceparent
from backend.kernel.postgres.faults import DatabaseAway, TransactionAborted

_TRIES_WITHOUT_KEY = 12
_LONGEST_DELAY_WITHOUT_KEY = 60
"""Some ten minutes in all: a rolling restart."""
_TIMEOUTS = 30
"""Some twelve minutes in all, with `statement_timeout`: a server that is too busy has recovered by then."""
_HOLD = 2 / 3
"""The part of its handler's limit for which a message that cannot be delayed is held: the last try must fit in."""
_HOPELESS: dict[type[BaseException], Reason] = {Expired: Reason.EXPIRED, Undecodable: Reason.UNDECODABLE}

log = structlog.get_logger(__name__)


def process(task: Task, handler: Handler, body: dict[str, Any]) -> None:
    """Deliver a message to the application layer.

    Return when the message is done: processed, refused, or processed before. Otherwise it is sent
    again with a delay that RabbitMQ keeps, or dead-lettered if a retry cannot help.
    While it cannot be delayed, it is held and retried here: requeueing it would count as a delivery.
    """
    envelope = _envelope(task, handler, body)
    headers = envelope.headers
    bind_request(headers.request_id, task=handler.name, operation_id=task.request.id)
    hand_back_at = monotonic() + _HOLD * handler.limit
    for tries in count():
        with in_its_trace(envelope):
            error = _received(task, envelope)
        # Raise what Celery needs here, where no exception is being handled: Celery publishes the text of
        # the whole chain to Flower, and the text of a fault may contain values.
        if error is None:
            return
        end = _set_aside if isinstance(error, Paused) else _ending
        if (ending := end(task, handler, envelope, error)) is not None:
            raise ending
        pause = _pause(tries, DatabaseAway.longest_pause)
        if monotonic() + pause > hand_back_at:
            raise Reject("not delayed", requeue=True)
        sleep(pause)
        envelope = _tried_again(envelope)


def _envelope(task: Task, handler: Handler, body: dict[str, Any]) -> Envelope:
    """The envelope of the message.

    Raises:
        Reject: it is not one of ours.
    """
    try:
        headers = Headers.parse(getattr(task.request, "envelope", None) or {})
        taken = Taking(datetime.now(UTC), str(task.request.hostname), task.request.retries)
        return Envelope(UUID(task.request.id), handler.name, handler.lane, body, headers, taken)
    except (MalformedHeaders, ValueError):
        bind_request("", operation_id=str(task.request.id)[:100])
        log.error("message dead-lettered", reason=Reason.FORGED, task=handler.name)  # noqa: TRY400 - its text is foreign
    raise Reject(Reason.FORGED, requeue=False)


def _received(task: Task, envelope: Envelope) -> BaseException | None:
    try:
        receiver = task.app.process().receiver
        receiver.check_pause(envelope.name)
        receiver.receive(receiver.findable(envelope), current_traceparent())
    except (WorkerShutdown, WorkerTerminate):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a MemoryError must not end the worker either
        return error
    return None


def _ending(task: Task, handler: Handler, envelope: Envelope, error: BaseException) -> Retry | Reject | None:
    """The exception that ends this delivery; None if nothing can now."""
    try:
        return _ending_after(task, handler, envelope, error)
    except Forged:
        return _not_ours(Reason.FORGED)
    except UnknownKey:
        return _after_unknown_key(task, envelope)


def _ending_after(task: Task, handler: Handler, envelope: Envelope, error: BaseException) -> Retry | Reject | None:
    """As `_ending`.

    Raises:
        Forged, UnknownKey: the message does not prove its author, whatever happened before that was checked.
    """
    if isinstance(error, Forged | UnknownKey):
        raise error
    if isinstance(error, TransactionAborted):
        return _after_abort(task, envelope, error)
    if isinstance(error, Away):
        return _while_away(task, envelope, error)
    if isinstance(error, Expired | Undecodable):
        return _given_up(task, envelope, _HOPELESS[type(error)], error)
    return _after_fault(task, handler, envelope, error)


def _set_aside(task: Task, handler: Handler, envelope: Envelope, _paused: BaseException) -> Retry | Reject | None:
    try:
        task.app.process().receiver.set_aside(envelope)
    except Exception as error:  # noqa: BLE001 - the delivery ends as that of any other message
        return _ending(task, handler, envelope, error)
    metrics.message_ended(envelope.name, "retried")
    return Retry("once its pause has ended", when=0)


def _while_away(task: Task, envelope: Envelope, error: Away) -> Retry | None:
    reason = str(error)
    if not error.logged and not task.request.retries:
        log.warning("message waits", reason=reason)
    # A database that is away cannot record it.
    noted = "" if isinstance(error, DatabaseAway) else reason
    return _again(task, envelope, _pause(task.request.retries, error.longest_pause), noted)


def _after_abort(task: Task, envelope: Envelope, error: TransactionAborted) -> Retry | Reject | None:
    """The server may be busy, so the message waits. A transaction that is always aborted must not be tried for ever."""
    timeouts = envelope.headers.timeouts + 1
    log.warning("transaction aborted", attempt=timeouts, of=_TIMEOUTS)
    if timeouts >= _TIMEOUTS:
        return _given_up(task, envelope, Reason.FAULT, error)
    again = task.app.process().receiver.timed_out_again(envelope)
    return _again(task, again, _pause(task.request.retries, error.longest_pause), "aborted by PostgreSQL")


def _after_unknown_key(task: Task, envelope: Envelope) -> Retry | Reject | None:
    """Another process may have a new key already: wait until this one is restarted with it. The message is sent
    again unchanged: signing it here would make a forged message valid. Its id may be that of another's operation, so
    nothing is recorded under it.
    """
    if task.request.retries >= _TRIES_WITHOUT_KEY:
        return _not_ours(Reason.UNKNOWN_KEY)
    seconds = min(2 ** (task.request.retries + 1), _LONGEST_DELAY_WITHOUT_KEY)
    if not task.request.retries:
        log.warning("message waits", reason="no process has its key")
    return _again(task, envelope, seconds)


def _not_ours(reason: Reason) -> Reject:
    """Reject it. The recorder keeps it, and no operation is changed."""
    log.error("message dead-lettered", reason=reason)
    return Reject(reason, requeue=False)


def _after_fault(task: Task, handler: Handler, envelope: Envelope, error: BaseException) -> Retry | Reject | None:
    attempts = envelope.headers.attempts + 1
    log.warning("message failed", attempt=attempts, of=handler.attempts, exc_info=error)
    if attempts >= handler.attempts:
        return _given_up(task, envelope, Reason.FAULT, error)
    receiver = task.app.process().receiver
    again = receiver.failed_again(envelope)
    return _again(task, again, handler.pause_after(attempts), receiver.described(error))


def _again(task: Task, envelope: Envelope, seconds: float, reason: str = "") -> Retry | None:
    """Publish the message with a delay and jitter; returns the exception that ends this delivery.

    Args:
        reason: recorded for operators.
    """
    delay = max(1, round(seconds * random.uniform(0.75, 1.25)))  # noqa: S311 - not a secret
    if reason:
        _note_retry(task, envelope, reason, delay)
    try:
        task.apply_async(
            kwargs=dict(envelope.body),
            task_id=str(envelope.id),
            headers={"envelope": envelope.headers.as_json()},
            countdown=delay,
            retries=task.request.retries + 1,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, this delivery is still ours
        log.warning("message could not be delayed", reason=type(error).__name__)
        return None
    metrics.message_ended(envelope.name, "retried")
    return Retry("again later", when=delay)


def _note_retry(task: Task, envelope: Envelope, reason: str, delay: float) -> None:
    """Before the message is sent again: the row is deleted with its outcome, which may come soon."""
    try:
        task.app.process().receiver.note_retry(envelope, task.request.retries + 1, reason, delay)
    except Exception as error:  # noqa: BLE001 - nothing depends on it
        log.warning("retry not recorded", reason=type(error).__name__)


def _tried_again(envelope: Envelope) -> Envelope:
    taken = envelope.taken
    return replace(envelope, taken=taken and taken._replace(tries=taken.tries + 1))


def _given_up(task: Task, envelope: Envelope, reason: Reason, fault: BaseException) -> Retry | Reject | None:
    try:
        task.app.process().receiver.give_up(envelope, reason, fault)
    except (Forged, UnknownKey):
        raise
    except DatabaseAway:
        away = True
    except Exception as error:  # a dead letter without a record is better than none
        away = False
        log.error("failure not recorded", exc_info=error)  # noqa: TRY400 - the formatter takes its text out
    else:
        away = False
    if away:
        return _again(task, envelope, _pause(task.request.retries, DatabaseAway.longest_pause))
    log.error("message dead-lettered", reason=reason, error=type(fault).__name__)
    return Reject(reason, requeue=False)


def _pause(retries: int, longest: float) -> float:
    return min(2.0 ** min(retries, 10), longest)


def register(app: Celery, handler: Handler) -> None:
    """Create the task of a handler."""

    @app.task(  # type: ignore[untyped-decorator]
        bind=True,
        name=handler.name,
        max_retries=None,
        shared=False,
        soft_time_limit=handler.limit,
        time_limit=handler.limit * 3 // 2,
    )
    def task(self: Task, **body: Any) -> None:
        try:
            process(self, handler, body)
        finally:
            end_request()
