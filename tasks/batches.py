"""Batches of a worker: what waits in one lane when a process becomes free goes to that process together.

A message that waits alone goes at once, as a task of its own. Whatever a batch does not finish, because of a fault, a
time limit or a killed process, becomes a task of its own as well: no neighbour shares its retries or deliveries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID
from weakref import ref

import msgspec
import structlog
from celery import current_app
from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.worker import state

from backend.kernel.delivery.envelope import Envelope, Headers, MalformedHeaders, Taking
from backend.kernel.messages.registry import Handler

MOST = 16
"""Messages of a batch. More would gain little, and hold locks and other lanes up for longer."""

Job = tuple[str, str, Any, bytes]
"""Name, id, headers and body of a message."""

log = structlog.get_logger(__name__)


class Batch:
    """Requests that a process executes together.

    Args:
        alone: executes one of them as a task of its own.
    """

    def __init__(self, requests: Sequence[Any], alone: Callable[[Any], None]) -> None:
        self._requests = requests
        self._alone = alone
        self._accepted_at = monotonic()

    def execute_using_pool(self, pool: Any) -> None:
        """Hand them to a process."""
        jobs = [(one.name, one.id, one.request_dict.get("envelope"), one.body) for one in self._requests]
        result = pool.apply_async(
            process_together,
            args=(jobs, self._requests[0].hostname),
            accept_callback=self._on_accepted,
            callback=self._on_success,
            error_callback=self._on_failure,
            soft_timeout=min(request.task.soft_time_limit for request in self._requests),
            timeout=min(request.task.time_limit for request in self._requests),
        )
        for request in self._requests:
            request._apply_result = result and ref(result)  # noqa: SLF001 - as Celery's own `execute_using_pool`

    def _on_accepted(self, pid: int, time_accepted: float) -> None:
        self._accepted_at = time_accepted
        for request in self._requests:
            request.on_accepted(pid, time_accepted)

    def _on_success(self, done: set[str]) -> None:
        seconds = monotonic() - self._accepted_at
        for request in self._requests:
            if request.id in done:
                request.on_success((False, None, seconds))
            else:
                self._leave(request)

    def _on_failure(self, _failure: Any) -> None:
        """The process was killed, or ran out of time. RabbitMQ has not noticed: that costs no delivery."""
        log.warning("batch lost with its process", messages=len(self._requests))
        for request in self._requests:
            self._leave(request)

    def _leave(self, request: Any) -> None:
        if request._already_cancelled:  # noqa: SLF001 - its connection is lost: it is delivered again
            return
        state.active_requests.discard(request)
        request.time_start = request.worker_pid = None
        self._alone(request)


def process_together(jobs: Sequence[Job], worker: str) -> set[str]:
    """Process messages in one transaction, in a process of the pool; returns the ids of those that are done."""
    app: Any = current_app._get_current_object()  # noqa: SLF001 - a proxy looks it up at each use
    taken = Taking(datetime.now(UTC), worker)
    envelopes = [envelope for job in jobs if (envelope := _envelope(app.program.registry.by_name, job, taken))]
    try:
        done: set[UUID] = app.process().batches.receive(envelopes)
    except (WorkerShutdown, WorkerTerminate):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - alone, each message meets its own fault again
        log.warning("batch undone", messages=len(jobs), reason=type(error).__name__)
        done = set()
    return {str(one) for one in done}


def may_share(handler: Handler | None, request: Any) -> bool:
    """Whether a request may be part of a batch: not if it was delivered or tried before, and perhaps was the fault."""
    if handler is None or not handler.batched or request.delivery_info["redelivered"]:
        return False
    headers = request.request_dict
    envelope = headers.get("envelope")
    tried = headers.get("retries") or not isinstance(envelope, dict) or envelope.get("attempts")
    return not tried and not envelope.get("replay")


def _envelope(handlers: Mapping[str, Handler], job: Job, taken: Taking) -> Envelope | None:
    """The envelope of a message; None if it is not one of ours."""
    name, message_id, headers, body = job
    try:
        _, fields, _ = msgspec.json.decode(body)
        return Envelope(UUID(message_id), name, handlers[name].lane, fields, Headers.parse(headers or {}), taken)
    except (MalformedHeaders, ValueError, TypeError):
        return None
