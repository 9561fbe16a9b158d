"""The web application: routes, request ids, and problem details for every error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import perf_counter
from typing import cast

import structlog
from flask import Flask, Response, request
from uuid_utils import uuid7
from werkzeug.exceptions import HTTPException, NotFound, RequestHeaderFieldsTooLarge

from backend.kernel.context import AnyContext
from backend.kernel.delivery import dead_letters, inbox
from backend.kernel.delivery.dispatch import Bus, Unavailable
from backend.kernel.delivery.lane_figures import lane_figures
from backend.kernel.delivery.waiters import Waiters
from backend.kernel.http.answers import problem_response, tell_caches
from backend.kernel.http.api import PREFIX, Api, CurrentRequest, current
from backend.kernel.http.bodies import BODY_LIMIT
from backend.kernel.http.caller import Authenticate, Caller, InvalidToken
from backend.kernel.http.cli import rebuilding
from backend.kernel.http.cors import share_with
from backend.kernel.http.openapi import DocumentedApi
from backend.kernel.http.operation_routes import blueprint as operation_routes
from backend.kernel.http.origins import Origins
from backend.kernel.http.pages import pages_blueprint
from backend.kernel.http.problems import headers_of, http_problem, problem, problem_of, problem_types
from backend.kernel.http.proxies import TrustedProxies, address_of
from backend.kernel.http.refused import note_refusal
from backend.kernel.http.shortcuts import QuickFlask
from backend.kernel.http.system import system_blueprint
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.refusals import Refusal
from backend.kernel.observe import metrics
from backend.kernel.observe.logging import bind_request, summary
from backend.kernel.observe.tracing import continued, current_traceparent
from backend.kernel.postgres.faults import MIGRATIONS_MISSING, DatabaseAway, lacks_migrations
from backend.kernel.resources import Resources
from backend.settings import Settings

_ONE_YEAR = "max-age=31536000"
_MOST_DRAINED = 16 * 1024 * 1024
_LONGEST_HEADER = 16 * 1024
_HEADERS = ("HTTP_", "CONTENT_TYPE")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_DESCRIPTION = """\
Writes are commands: `202 Accepted` is a promise that the command takes effect once. Poll the operation in \
`Location` for the outcome, or send `Prefer: wait=N` to get the answer that a synchronous API would give.

Every error is `application/problem+json`: branch on `code`. Send `Idempotency-Key` with a write that you may repeat.
"""
log = structlog.get_logger(__name__)


def create_app(
    resources: Resources, bus: Bus, contexts: Sequence[AnyContext], authenticate: Authenticate | None = None
) -> Flask:
    """The WSGI application. It connects to nothing before its first request.

    Args:
        contexts: those of the program; the routes of those that this process serves are registered.
        authenticate: replaces the function that a context offers.
    """
    settings = resources.settings
    served = [context for context in contexts if settings.serves(context.name)]
    app = _configured(settings)
    app.extensions["api"] = _parts(resources, bus, contexts, authenticate)
    metrics.register_backlog(lambda: bus.database.read(dead_letters.backlog, timeout=1, fresh=True))
    metrics.register_lanes(lambda: lane_figures(bus))
    metrics.register_replica(lambda: bus.database.replica_up)
    _watch_requests(app)
    if settings.cors_origins:
        share_with(Origins(settings.cors_origins), app)
    _render_errors(app, with_texts=not settings.production)
    documented = DocumentedApi(app)
    for blueprint in (operation_routes, *(routes for context in served for routes in context.routes)):
        documented.register_blueprint(blueprint, url_prefix=PREFIX)
    packages = ["backend.kernel.", *(context.package for context in contexts)]
    app.register_blueprint(pages_blueprint(problem_types(packages)))
    app.register_blueprint(system_blueprint())
    for context in served:
        for routes in context.root_routes(resources) if context.root_routes else ():
            app.register_blueprint(routes)
    for command in (command for context in contexts for command in context.cli):
        app.cli.add_command(command)
    app.cli.add_command(rebuilding([keys for context in contexts for keys in context.search_keys]))
    return app


def _configured(settings: Settings) -> Flask:
    app = QuickFlask("backend", static_folder=None)
    app.config.update(API_TITLE="Backend", API_VERSION="v1", OPENAPI_VERSION="3.1.0", OPENAPI_URL_PREFIX="/")
    app.config.update(OPENAPI_JSON_PATH="openapi.json", API_SPEC_OPTIONS={"info": {"description": _DESCRIPTION}})
    # A body without Content-Length is cut there. The extra byte shows that it is too large, and no more is stored.
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT + 1
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    if settings.trusted_proxies:
        app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    return app


def _parts(resources: Resources, bus: Bus, contexts: Sequence[AnyContext], authenticate: Authenticate | None) -> Api:
    """The parts that views use, after every channel has been registered."""
    waiters = Waiters(resources.settings.wait_slots)
    resources.listen({inbox.CHANNEL: waiters})
    for context in contexts:
        if context.channels is not None:
            resources.listen(context.channels(resources))
    as_known, as_stored = (authenticate, authenticate) if authenticate else _offered(resources, contexts)
    return Api(
        settings=resources.settings,
        bus=bus,
        keyring=resources.keyring,
        listener=resources.listener,
        waiters=waiters,
        limits=resources.limits,
        authenticate=as_known,
        authenticate_now=as_stored,
        timeline=tuple(context.timeline for context in contexts if context.timeline is not None),
        contexts=tuple(context.name for context in contexts),
        after_restore=tuple(context.after_restore for context in contexts if context.after_restore is not None),
    )


def _offered(resources: Resources, contexts: Sequence[AnyContext]) -> tuple[Authenticate, Authenticate]:
    """The contexts' functions that authenticate an access token: from memory, and from the database."""
    known = next((one.authenticate for one in contexts if one.authenticate), None)
    stored = next((one.authenticate_now for one in contexts if one.authenticate_now), None)
    account_of = next((one.account_of for one in contexts if one.account_of), None)
    if known is None or stored is None or account_of is None:
        return _nobody, _nobody
    authenticate_now, account_of_caller = stored(resources), account_of

    def with_present_roles(token: str) -> Caller:
        found = authenticate_now(token)
        account = resources.database.read(lambda primary: account_of_caller(primary, found.user_id), fresh=True)
        if account is None:
            raise InvalidToken
        return found._replace(roles=tuple(sorted(account.roles)))

    return known(resources), with_present_roles


def _nobody(_token: str) -> Caller:
    """Used if no context of this program authenticates."""
    raise InvalidToken


def _watch_requests(app: Flask) -> None:
    """Set up the current request when it begins, and count it when it ends."""
    parts: Api = app.extensions["api"]

    @app.before_request
    def begin() -> None:
        environ, rule = request.environ, request.url_rule.rule if request.url_rule else None
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else uuid7().hex
        bind_request(request_id)
        trace = continued(environ.get("HTTP_TRACEPARENT"), rule or "unknown")
        ip = address_of(environ.get("REMOTE_ADDR", ""))
        asked = CurrentRequest(parts, environ, rule, request_id, perf_counter(), ip, trace)
        asked.before = current.set(asked)
        trace.__enter__()
        current_origin.set(
            Origin(
                request_id=request_id,
                ip=ip,
                user_agent=environ.get("HTTP_USER_AGENT", "")[:200],
                traceparent=current_traceparent() or "",
            )
        )
        if any(len(value) > _LONGEST_HEADER for name, value in environ.items() if name.startswith(_HEADERS)):
            raise RequestHeaderFieldsTooLarge
        if environ["PATH_INFO"].startswith("//"):
            raise NotFound  # the router would take it for the path with one slash; a guard of paths before us would not

    @app.after_request
    def finish(response: Response) -> Response:
        asked = current.get()
        if asked.environ.get("CONTENT_LENGTH") and (request.content_length or 0) > BODY_LIMIT:
            _drain()
        headers = response.headers  # `add` is cheaper than an assignment, which looks for the same header
        headers.add("X-Request-ID", asked.request_id)
        headers["X-Content-Type-Options"] = "nosniff"  # our pages have it already
        if asked.environ["wsgi.url_scheme"] == "https":
            headers.add("Strict-Transport-Security", _ONE_YEAR)  # RFC 6797: only what arrived over TLS may say so
        tell_caches(response, asked.environ)
        note_refusal(asked, response.status_code)
        method = asked.environ["REQUEST_METHOD"]
        metrics.observe_request(method, asked.rule, response.status_code, perf_counter() - asked.started)
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        asked = current.get(None)
        if asked is not None and asked.before is not None:
            current.reset(asked.before)
            current_origin.set(Origin())  # what this thread does next does not belong to this request
            asked.trace.__exit__(type(error) if error else None, error, None)


def _drain() -> None:
    """Read the rest of a large body, up to a limit: a client that is still sending would not see the answer."""
    body, left = request.environ["wsgi.input"], _MOST_DRAINED
    while left > 0 and (chunk := body.read(min(left, BODY_LIMIT))):
        left -= len(chunk)


def _render_errors(app: Flask, *, with_texts: bool) -> None:
    """Turn every error into problem details. That happens nowhere else.

    Args:
        with_texts: whether a fault is answered with the text of its exception: in development.
    """

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        body = problem_of(refusal, current.get().request_id)
        return problem_response(body, headers_of(refusal))

    @app.errorhandler(InvalidToken)
    def unidentified(_error: InvalidToken) -> Response:
        detail = "The access token is missing, malformed, expired or revoked."
        body = problem("invalid_token", 401, current.get().request_id, detail)
        return problem_response(body, {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    @app.errorhandler(Unavailable)
    @app.errorhandler(DatabaseAway)
    def unavailable(_error: Exception) -> Response:
        return problem_response(http_problem(503, current.get().request_id), {"Retry-After": "2"})

    @app.errorhandler(HTTPException)
    def refused_by_the_server(error: HTTPException) -> Response:
        if error.response is not None:
            return cast("Response", error.response)  # `fail` made it
        status = error.code or 500
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
        return problem_response(http_problem(status, current.get().request_id), headers)

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        if app.testing:
            raise error
        if lacks_migrations(error):
            log.error("request failed", rule=str(request.url_rule), method=request.method, reason=MIGRATIONS_MISSING)
            return unavailable(error)
        log.error("request failed", rule=str(request.url_rule), method=request.method, exc_info=error)
        text = summary(error, with_text=True) if with_texts else ""
        return problem_response(http_problem(500, current.get().request_id, text))
