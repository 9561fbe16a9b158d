"""A record of refused requests: a log line, and an audit entry for an administrator's route."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from uuid import UUID

import structlog
from flask import request

from backend.kernel.http.api import CurrentRequest, bus
from backend.kernel.limits import network_of
from backend.kernel.observe import audit, metrics
from backend.kernel.postgres.faults import DatabaseAway

_MOST_NAMES = 1000
_LOGGED = (401, 403, 429)
log = structlog.get_logger(__name__)


class Allowance:
    """Allows `times` within `seconds` per name. It drops every counter rather than grow without a bound."""

    def __init__(self, times: int, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._times, self._seconds, self._clock = times, seconds, clock
        self._lock = Lock()
        self._spent: dict[str, tuple[float, int]] = {}

    def take(self, name: str) -> int | None:
        """How many were dropped for the name in the last window; None if this one is dropped."""
        now = self._clock()
        with self._lock:
            since, spent = self._spent.get(name, (now, 0))
            left_out = 0
            if now - since > self._seconds:
                since, spent, left_out = now, 0, max(0, spent - self._times)
            if len(self._spent) >= _MOST_NAMES and name not in self._spent:
                self._spent.clear()
            self._spent[name] = since, spent + 1
        return left_out if spent < self._times else None


_lines = Allowance(times=10, seconds=60)
_entries = Allowance(times=10, seconds=60)


def note_refusal(asked: CurrentRequest, status: int) -> None:
    """Log a request that is answered 401, 403 or 429, at most ten a minute per network."""
    if status not in _LOGGED:
        return
    metrics.request_refused(asked.problem)
    ip = asked.ip
    left_out = _lines.take(network_of(ip))
    if left_out is None:
        return
    log.warning(
        "request refused",
        status=status,
        problem=asked.problem,
        method=request.method,
        rule=str(request.url_rule),  # not the path: it may contain a handle
        ip=ip,
        actor=str(asked.caller.user_id) if asked.caller else None,
        **({"left_out": left_out} if left_out else {}),
    )


def audit_refusal(asked: CurrentRequest) -> None:
    """Record in the audit log that a caller without the role tried an administrator's route."""
    if asked.caller is None or _entries.take(str(asked.caller.user_id)) is None:
        return
    about = next((value for value in (request.view_args or {}).values() if isinstance(value, UUID)), None)
    try:
        with bus().database.transaction() as connection:
            audit.write(connection, f"{request.method} {request.url_rule}", about, "forbidden")
    except DatabaseAway:
        log.warning("a refusal could not be audited: the database is away")
