"""The recorder: moves messages from the dead-letter queue to the table `dead_letters`.

A message leaves the queue after its row is committed. A recorder killed in between records it a
second time, which changes nothing. The embedded broker has no such queue: what a handler could not
process is still recorded, but malformed messages are lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from celery import Task
from kombu import Connection

from backend.kernel.delivery.dead_letters import DeadLetter, Reason, storable
from backend.kernel.delivery.envelope import Envelope, Headers, MalformedHeaders
from backend.kernel.delivery.sealing import Forged, Sealer, UnknownKey
from backend.kernel.messages.registry import Registry
from backend.kernel.postgres.faults import DatabaseAway
from backend.program import Process
from tasks.consumer import MOST_BYTES, malformed
from tasks.lanes import DEAD_LETTERS, lanes_of
from tasks.maintenance import SUCCEEDED, UNSEEN, housekeeping

_MOST_AT_ONCE = 500
_LONGEST_RUN = 5.0
"""Seconds: the sweep waits for the same processes."""

log = structlog.get_logger(__name__)


def register(app: Any) -> None:
    """Create the task."""
    app.task(bind=True, name="maintenance.record_dead_letters", **UNSEEN)(record_dead_letters)


@housekeeping
def record_dead_letters(task: Task) -> str:
    """Drain the dead-letter queue, up to 500 messages, for a few seconds. The next run retries what fails."""
    task.app.process().resources.database.read(lambda primary: primary.execute("select 1"), fresh=True)  # or nothing
    with task.app.pool.acquire(block=True, timeout=2) as connection:
        if connection.transport.driver_type != "amqp":
            return SUCCEEDED
        try:
            recorded = _drain(connection, task.app)
        except Exception as error:  # a recorder that fails would become the next dead letter
            log.error("dead letters not recorded", exc_info=error)  # noqa: TRY400 - the formatter takes its text out
            connection.collect()  # the pool must not keep a connection that may be broken
            return type(error).__name__
        if recorded:
            log.info("dead letters recorded", messages=recorded)
        return SUCCEEDED


def _drain(connection: Connection, app: Any) -> int:
    """Closing the channel requeues what was not acknowledged."""
    process, until = app.process(), monotonic() + _LONGEST_RUN
    with connection.channel() as channel:
        for recorded in range(_MOST_AT_ONCE):
            taken = channel.basic_get(DEAD_LETTERS)
            if taken is None:
                return recorded
            message = channel.message_to_python(taken)
            _record(process, message)
            message.ack()
            if monotonic() > until:
                return recorded + 1
    return _MOST_AT_ONCE


def _record(process: Process, message: Any) -> None:
    """Record the message. If its headers prevent that, record it as bytes: it must not block those that follow.

    Raises:
        DatabaseAway: PostgreSQL cannot be reached.
    """
    try:
        process.receiver.bury(letter_of(message, process.registry, process.resources.sealer))
    except (DatabaseAway, MemoryError):
        raise  # not the message's fault
    except Exception as error:  # noqa: BLE001 - whatever a stranger has put there
        log.warning("dead letter recorded as bytes", reason=type(error).__name__)
        process.receiver.bury(_as_bytes(message))


def _as_bytes(message: Any) -> DeadLetter:
    raw = _bytes(message.body)
    identity = UUID(bytes=hashlib.sha256(raw).digest()[:16])
    return DeadLetter(
        Envelope(identity, "", "", {}), Reason.MALFORMED, "headers", raw=raw, has_operation=False, foreign={}
    )


def letter_of(message: Any, registry: Registry, sealer: Sealer) -> DeadLetter:
    """The dead letter of a message from the queue, whatever it looks like.

    A message that does not prove its author is recorded under a new id, so that it changes no operation.
    """
    message.accept = {"application/json"}
    headers = message.headers if isinstance(message.headers, dict) else {}
    task = headers["task"] if isinstance(headers.get("task"), str) else ""
    death = _death(headers, list(lanes_of(registry)))
    why = malformed(message)
    body = _arguments(message) if why is None else None
    envelope = _envelope(headers, task, str(death.get("queue", "")), body)
    doubt = Reason.FORGED if envelope is None else _doubt(envelope, sealer)
    known = envelope if doubt is None else None
    return DeadLetter(
        known or Envelope(_derived_id(message, headers), task, str(death.get("queue", "")), body or {}),
        _reason(task, death, why, registry, doubt),
        why or "",
        raw=None if body is not None else _bytes(message.body),
        content_type=storable(str(message.content_type)),
        has_operation=known is not None,
        foreign=headers if known is None else None,
    )


def _envelope(headers: Mapping[str, Any], task: str, lane: str, body: Mapping[str, Any] | None) -> Envelope | None:
    """The envelope, if the message has the form of one."""
    try:
        return Envelope(UUID(headers.get("id")), task, lane, body or {}, Headers.parse(headers.get("envelope")))
    except (MalformedHeaders, TypeError, ValueError, AttributeError):
        return None


def _doubt(envelope: Envelope, sealer: Sealer) -> Reason | None:
    """Why the message does not prove its author; None if it does."""
    try:
        sealer.check(envelope)
    except Forged:
        return Reason.FORGED
    except UnknownKey:
        return Reason.UNKNOWN_KEY
    return None


def _reason(task: str, death: Mapping[str, Any], why: str | None, registry: Registry, doubt: Reason | None) -> Reason:
    if why is not None:
        return Reason.MALFORMED
    if doubt is not None:
        return doubt
    if task not in registry.queued():
        return Reason.UNKNOWN_TASK
    return Reason.DELIVERY_LIMIT if death.get("reason") == "delivery_limit" else Reason.REJECTED


def _death(headers: Mapping[str, Any], lanes: Sequence[str]) -> Mapping[str, Any]:
    """The queue and the reason of the last dead-lettering; RabbitMQ puts the latest first, and lists delays as well."""
    deaths = headers.get("x-death")
    entries = [entry for entry in deaths if isinstance(entry, dict)] if isinstance(deaths, list) else []
    return next((entry for entry in entries if entry.get("queue") in lanes), {})


def _arguments(message: Any) -> dict[str, Any] | None:
    """The fields of the message; None if they cannot be stored as they are."""
    positional, fields, _ = message.payload
    return fields if not positional and storable(fields) == fields else None


def _bytes(body: Any) -> bytes:
    """The body as it came; of one that is too large the beginning."""
    return (body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body))[:MOST_BYTES]


def _derived_id(message: Any, headers: Mapping[str, Any]) -> UUID:
    """An id for a message without one: the same each time this copy is taken from the queue."""
    lasting = {name: value for name, value in headers.items() if name != "x-delivery-count"}
    identity = repr((_bytes(message.body), lasting))
    return UUID(bytes=hashlib.sha256(identity.encode(errors="replace")).digest()[:16])
