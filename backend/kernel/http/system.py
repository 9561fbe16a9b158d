"""Health and metrics, at the root."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from hmac import compare_digest
from time import monotonic
from typing import Any

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from backend.kernel.delivery import lanes, outbox, pauses
from backend.kernel.delivery.envelope import QueueUnavailable
from backend.kernel.http.answers import json_response, problem_response
from backend.kernel.http.api import api, bus, current
from backend.kernel.http.caller import InvalidToken
from backend.kernel.http.problems import http_problem
from backend.kernel.observe import metrics
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.faults import MIGRATIONS_MISSING, DatabaseAway, lacks_migrations
from backend.kernel.postgres.replica import ReplicaState

_TRIED_EVERY = 30.0
"""Seconds between two new connections that only try whether one can be made."""


def system_blueprint() -> Blueprint:
    """`/health/live`, `/health/ready` and `/metrics`."""
    blueprint = Blueprint("system", __name__)
    blueprint.get("/health/live")(live)
    blueprint.get("/health/ready", endpoint="ready")(partial(ready, _Newcomer(), _Newcomer()))
    blueprint.get("/metrics")(figures)
    return blueprint


def live() -> Response:
    """200 while the process answers; no dependency is checked."""
    return json_response({"status": "live"})


class _Newcomer:
    """Whether a server that answers on the connections in use would let a new one in: its password may have been
    changed, or it may have none left.
    """

    def __init__(self) -> None:
        self._trying = threading.Lock()
        self._until = 0.0
        self._reason = ""

    def reason(self, why_away: Callable[[], str]) -> str:
        """Why it would not, as of the last half minute: anybody may ask, and each try is a connection."""
        if monotonic() > self._until and self._trying.acquire(blocking=False):
            try:
                found = why_away()
                self._reason = found and f"New connections would fail: {found}"
                self._until = monotonic() + _TRIED_EVERY
            finally:
                self._trying.release()
        return self._reason


def ready(at_database: _Newcomer, at_broker: _Newcomer) -> Response:
    """200 while anything can be read or accepted, naming each dependency, what works, and the lanes and commands that
    are accepted and wait because an operator paused them; 503 when nothing can. What is down has a reason, if it is
    known, and so has what is up and would let no new connection in. A database without its migrations counts as down.
    """
    database, limit = bus().database, api().settings.spool_limit
    room: list[bool] = []
    paused: set[str] = set()

    def look(primary: ReadConnection) -> None:
        room.append(outbox.has_room(primary, limit))
        paused.update(name.removeprefix(pauses.PREFIX) for name in lanes.paused(primary))

    unread = _fault_of(lambda: database.read(look, timeout=1, fresh=True))
    unsent = _fault_of(lambda: bus().queue.check(1))
    up = {"database": unread is None, "broker": unsent is None}
    replica = database.replica_up
    up["replica"] = up["database"] if replica is None else replica
    works = {
        "reads": "database" if up["database"] else "replica" if up["replica"] else "none",
        "commands": "broker" if up["broker"] else "spool" if any(room) else "none",
    }
    state: dict[str, Any] = {**{name: "up" if one else "down" for name, one in up.items()}, **works}
    reasons = list(_reasons(database, unread, unsent))
    if unread is None:
        reasons.append(at_database.reason(database.why_away))
    if unsent is None:
        reasons.append(at_broker.reason(bus().queue.why_away))
    if reason := "; ".join(filter(None, reasons)):
        state["reason"] = reason
    if paused:
        state["paused"] = sorted(paused)
    if set(works.values()) == {"none"}:
        return problem_response({**http_problem(503, current.get().request_id), **state}, {"Retry-After": "2"})
    return json_response({"status": "degraded" if reason or not all(up.values()) else "ok", **state})


def _reasons(database: Database, unread: Exception | None, unsent: Exception | None) -> Iterator[str]:
    """Why something is down, in fixed texts: anybody may ask."""
    if lacks_migrations(unread):
        yield MIGRATIONS_MISSING
    elif isinstance(unread, DatabaseAway):
        yield database.why_away() or str(unread)
    if isinstance(unsent, QueueUnavailable):
        yield str(unsent)
    if database.replica_state is ReplicaState.LAGGING:
        yield "The replica is too far behind to be asked"


def figures() -> Response:
    """Prometheus metrics, with METRICS_TOKEN; in development also without one."""
    _may_see_figures()
    body, content_type = metrics.metrics_response()
    return Response(body, content_type=content_type)


def _may_see_figures() -> None:
    settings, request = api().settings, current.get()
    if not settings.metrics_token:
        if settings.production:
            raise NotFound
        return
    given = request.environ.get("HTTP_AUTHORIZATION", "")
    if not compare_digest(given.encode(), f"Bearer {settings.metrics_token}".encode()):
        raise InvalidToken


def _fault_of(check: Callable[[], object]) -> Exception | None:
    """Why it does not answer; None if it does."""
    try:
        check()
    except Exception as fault:  # noqa: BLE001 - whatever it is
        return fault
    return None
