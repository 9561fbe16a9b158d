"""The web application: routes, request ids, and every error as a problem, rendered once."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from time import perf_counter
from typing import Any, cast

import structlog
from flask import Flask, Response, g, request
from flask_cors import CORS
from uuid_utils import uuid7
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from backend.contexts.auth.infrastructure import revocation
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.contexts.auth.infrastructure.revocation import Gate, Revocations
from backend.contexts.auth.infrastructure.routes import blueprint as auth_routes
from backend.contexts.auth.infrastructure.routes import jwks_blueprint
from backend.contexts.auth.infrastructure.tokens import AccessTokens
from backend.contexts.operators.infrastructure.audit_routes import blueprint as audit_routes
from backend.contexts.operators.infrastructure.dead_letter_routes import blueprint as dead_letter_routes
from backend.contexts.products.infrastructure.routes import blueprint as products_routes
from backend.contexts.users.infrastructure.account_routes import blueprint as account_routes
from backend.contexts.users.infrastructure.cli import register_commands
from backend.contexts.users.infrastructure.routes import blueprint as users_routes
from backend.kernel.delivery import dead_letters
from backend.kernel.delivery import inbox as operations
from backend.kernel.delivery.bus import Bus, Unavailable
from backend.kernel.delivery.sealing import Keyring
from backend.kernel.delivery.waiters import Waiters
from backend.kernel.http.answers import problem_response
from backend.kernel.http.api import PREFIX, Api
from backend.kernel.http.bodies import BODY_LIMIT
from backend.kernel.http.caller import Authenticate, Forbidden, InvalidToken
from backend.kernel.http.openapi import DocumentedApi
from backend.kernel.http.operation_routes import blueprint as operation_routes
from backend.kernel.http.pages import pages_blueprint
from backend.kernel.http.problems import http_problem, problem, problem_of, problem_types
from backend.kernel.http.shortcuts import behind
from backend.kernel.http.system import system_blueprint
from backend.kernel.messages.origin import Context, current_context
from backend.kernel.messages.refusals import Refusal
from backend.kernel.observe import metrics
from backend.kernel.observe.logging import bind_request
from backend.kernel.observe.tracing import continued, current_traceparent
from backend.kernel.postgres.faults import DatabaseAway
from backend.kernel.postgres.listener import Listener
from backend.settings import Settings

_ROUTES = {
    "auth": [auth_routes],
    "products": [products_routes],
    "users": [users_routes, account_routes],
}
_MOST_DRAINED = 16 * 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_EXPOSED = ["Location", "Retry-After", "ETag", "Link", "X-Request-ID", "Preference-Applied"]
_ALLOWED = [
    "Authorization",
    "Content-Type",
    "Prefer",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-ID",
    "traceparent",
]
_DESCRIPTION = """\
Writes are commands: `202 Accepted` is a promise that the command will be carried out, once. Ask for the outcome \
at the operation in `Location`, or send `Prefer: wait=N` and get the answer a synchronous API would give.

Every error is `application/problem+json`; branch on `code`. Send `Idempotency-Key` with a write you may repeat.
"""
log = structlog.get_logger(__name__)


def create_app(settings: Settings, bus: Bus, authenticate: Authenticate | None = None) -> Flask:
    """The WSGI application. It connects to nothing before its first request.

    Args:
        authenticate: instead of looking at access tokens and sessions.
    """
    app = _Application("backend", static_folder=None)
    app.config.update(API_TITLE="Backend", API_VERSION="v1", OPENAPI_VERSION="3.1.0", OPENAPI_URL_PREFIX="/")
    app.config.update(OPENAPI_JSON_PATH="openapi.json", API_SPEC_OPTIONS={"info": {"description": _DESCRIPTION}})
    # A body whose length nobody has told is cut there: the byte too many shows it, and no more is kept in memory.
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT + 1
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_port=hops)  # type: ignore[method-assign]
    if settings.cors_origins:
        CORS(app, origins=list(settings.cors_origins), expose_headers=_EXPOSED, allow_headers=_ALLOWED, max_age=600)
    waiters = Waiters(settings.wait_slots)
    keys = SigningKeys(settings)
    access_tokens = AccessTokens(settings, keys)
    revocations = Revocations(bus.database, access_tokens.lifetime)
    listener = Listener(settings.database_url, {operations.CHANNEL: waiters.wake, revocation.CHANNEL: revocations.hear})
    listener.when_connected(revocations.catch_up)
    gate = Gate(access_tokens, revocations, listener)
    bus.on_notices(revocation.CHANNEL, gate.spread)
    authenticate = authenticate or gate.authenticate
    keyring = Keyring(settings.secret_keys)
    app.extensions["api"] = Api(settings, bus, keyring, listener, waiters, authenticate, gate.settle)
    metrics.register_backlog(lambda: bus.database.read(dead_letters.backlog))
    _watch_requests(app)
    _render_errors(app)
    documented = DocumentedApi(app)
    ours = [_ROUTES[context] for context in _ROUTES if context in settings.contexts]
    for blueprint in (*chain.from_iterable(ours), operation_routes, audit_routes, dead_letter_routes):
        documented.register_blueprint(blueprint, url_prefix=PREFIX)
    app.register_blueprint(pages_blueprint(problem_types()))
    app.register_blueprint(system_blueprint())
    if "auth" in settings.contexts:
        app.register_blueprint(jwks_blueprint(keys))
    register_commands(app)
    return app


def _watch_requests(app: Flask) -> None:
    """Give each request its id and context, and count it."""

    @app.before_request
    def begin() -> None:
        started = perf_counter()
        kept, asked = behind(g), behind(request)
        environ = asked.environ  # werkzeug's views of it cost more than all the rest here
        kept.started = started
        kept.request_id = request_id = _request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        bind_request(request_id)
        kept.trace = continued(environ.get("HTTP_TRACEPARENT"), str(asked.url_rule or "unknown"))
        kept.trace.__enter__()
        current_context.set(
            Context(
                request_id=request_id,
                ip=environ.get("REMOTE_ADDR", ""),
                user_agent=environ.get("HTTP_USER_AGENT", "")[:200],
                traceparent=current_traceparent() or "",
            )
        )

    @app.after_request
    def finish(response: Response) -> Response:
        kept, asked = behind(g), behind(request)
        if (asked.content_length or 0) > BODY_LIMIT:
            _drain()
        response.headers["X-Request-ID"] = kept.request_id
        rule = str(asked.url_rule) if asked.url_rule else None
        metrics.observe_request(asked.method, rule, response.status_code, perf_counter() - kept.started)
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        trace = g.pop("trace", None)
        if trace is not None:
            trace.__exit__(type(error) if error else None, error, None)


def _drain() -> None:
    """Read what is left of a large body, within reason: a client that is still sending would not see the answer."""
    body, left = request.environ["wsgi.input"], _MOST_DRAINED
    while left > 0 and (chunk := body.read(min(left, BODY_LIMIT))):
        left -= len(chunk)


def _request_id(given: str) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid7().hex


class _Application(Flask):
    """Flask without its look, several times a request, for views that are coroutines: we have none."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is."""
        return func


def _render_errors(app: Flask) -> None:
    """Every error becomes problem details here, and nowhere else."""

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        body = problem_of(refusal, g.request_id)
        return problem_response(body, refusal.headers())

    @app.errorhandler(InvalidToken)
    def unidentified(_error: InvalidToken) -> Response:
        detail = "The access token is missing, malformed, expired or ended."
        body = problem("invalid_token", 401, g.request_id, detail)
        return problem_response(body, {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    @app.errorhandler(Forbidden)
    def forbidden(_error: Forbidden) -> Response:
        return problem_response(problem("forbidden", 403, g.request_id, "You are not allowed to do this."))

    @app.errorhandler(Unavailable)
    @app.errorhandler(DatabaseAway)
    def unavailable(_error: Exception) -> Response:
        return problem_response(http_problem(503, g.request_id), {"Retry-After": "2"})

    @app.errorhandler(HTTPException)
    def refused_by_the_server(error: HTTPException) -> Response:
        if error.response is not None:
            return cast("Response", error.response)  # `fail` made it
        status = error.code or 500
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
        return problem_response(http_problem(status, g.request_id), headers)

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        log.error("request failed", rule=str(request.url_rule), method=request.method, exc_info=error)
        return problem_response(http_problem(500, g.request_id))
