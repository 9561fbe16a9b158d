"""Health and metrics, at the root."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from backend.kernel.http.answers import json_response, problem_response
from backend.kernel.http.api import api, bus, current
from backend.kernel.http.caller import InvalidToken
from backend.kernel.http.problems import http_problem
from backend.kernel.observe import metrics


def system_blueprint() -> Blueprint:
    """`/health/live`, `/health/ready` and `/metrics`."""
    blueprint = Blueprint("system", __name__)
    blueprint.get("/health/live")(live)
    blueprint.get("/health/ready")(ready)
    blueprint.get("/metrics")(figures)
    return blueprint


def live() -> Response:
    """200 while the process answers; no dependency is checked."""
    return json_response({"status": "live"})


def ready() -> Response:
    """200 when database and broker answer, else 503 naming the one that does not."""
    checks = {
        "database": _answers(lambda: bus().database.read(lambda connection: connection.execute("select 1"), timeout=1)),
        "broker": _answers(lambda: bus().queue.check(1)),
    }
    if all(state == "up" for state in checks.values()):
        return json_response({"status": "ready", "checks": checks})
    return problem_response({**http_problem(503, current.get().request_id), "checks": checks}, {"Retry-After": "2"})


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


def _answers(check: Callable[[], object]) -> str:
    try:
        check()
    except Exception:  # noqa: BLE001 - whatever it is, it does not answer
        return "down"
    return "up"
