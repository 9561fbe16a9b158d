"""HTML pages: the API's documentation, and an explanation of each problem.

Everything is served from our own origin, so the pages work without internet access and under a strict policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound

_YEAR = 365 * 24 * 3600
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OUR_FILES = Path(__file__).parent / "templates" / "pages"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".png": "image/png"}
_FROM_SWAGGER_UI = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_FROM_US = ("docs.css", "docs.js", "problems.css")
_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
_ADVICE = {
    400: "Send a body of well-formed JSON. The same request will fail again.",
    401: "Get a valid access token (refresh, or sign in again) and repeat the request.",
    403: "Do not repeat the request: this caller is not allowed to do this. Tell the user, or use another account.",
    404: "Do not repeat the request. Check the address. The resource may be deleted, or not visible to this caller.",
    405: "Use one of the methods named in the Allow header.",
    409: "Show the user what conflicts. Repeat with other values, or after the state has changed.",
    412: "Read the resource again, apply the change to its current version, and send it with the new ETag.",
    413: "Send a smaller body: at most 64 KiB.",
    415: "Send JSON, with the header Content-Type: application/json.",
    422: "Correct what the `errors` array lists and send the request again.",
    429: "Wait for the seconds in the Retry-After header before you retry.",
    503: "Wait for the seconds in the Retry-After header and repeat the request. With the same "
    "Idempotency-Key it takes effect at most once.",
}
_ADVICE_BY_CODE = {
    "body_too_large": "Send less: a JSON body may have 64 KiB; an upload, what its route says.",
    "unsupported_media_type": "Send the body as the route documents it, mostly as application/json, and without "
    "Content-Encoding.",
    "idempotency_key_reused": "Send the new body with a new Idempotency-Key. The first operation is not affected.",
    "invalid_link": "Ask for a new link: each works once, for a limited time, and a newer one replaces the older.",
    "invalid_credentials": "Ask the person for the right address, or username, and password.",
    "invalid_code": "Ask the person for the code again; if it was tried too often or has expired, sign in again.",
    "invalid_refresh_token": "Ask the person to sign in again.",
    "wrong_password": "Ask the person for the current password.",
    "reauthentication_required": "Ask the person for the password, send it to /auth/reauthenticate, then repeat the "
    "request.",
    "cross_site": "Send X-CSRF: 1 from a page of an allowed origin, or use a bearer token.",
    "cancelled": "Nothing was done. Send the command again, with a new Idempotency-Key, if it is still wanted.",
    "operation_finished": "Read the operation: it has an outcome.",
    "unknown_after_restore": "Read the resource, and send the command again if its effect is missing.",
    "request_timeout": "Send the request again. With the same Idempotency-Key it takes effect at most once.",
    "busy": "Wait for the seconds in the Retry-After header and send the request again. Nothing was counted.",
    "dead_letter_settled": "Read the dead letter: it says what was done with it.",
    "not_replayable": "Start a worker that has the handler, and replay it then; or discard it.",
}
_ADVICE_TO_CALLER_AT_FAULT = "Correct the request before sending it again."
_ADVICE_AT_OUR_FAULT = "Retry later. If it persists, report the request_id to whoever runs this service."


def reason_of(status: int) -> str:
    """The phrase of an HTTP status, in the words of RFC 9110 on every Python: its own had them from 3.13 on."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem that the API answers with.

    Attributes:
        code: its stable name, the last part of the problem's `type`.
        status: the HTTP status it comes with.
        title: what happened, in a few words.
        description: what it means, for the developer of a client.
    """

    code: str
    status: int
    title: str
    description: str

    @property
    def advice(self) -> str:
        """What a client should do about it."""
        server_failed = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if self.code in _ADVICE_BY_CODE:
            return _ADVICE_BY_CODE[self.code]
        return _ADVICE.get(self.status, _ADVICE_AT_OUR_FAULT if server_failed else _ADVICE_TO_CALLER_AT_FAULT)

    @property
    def reason(self) -> str:
        """The standard phrase of its status."""
        return reason_of(self.status)


def pages_blueprint(catalogue: Mapping[str, ProblemType]) -> Blueprint:
    """The pages `/docs`, `/problems` and `/problems/<code>`, to register at the root.

    Args:
        catalogue: every problem the API answers with, by code.
    """
    pages = Blueprint("pages", __name__, template_folder="templates")
    ordered = sorted(catalogue.values(), key=lambda problem: (problem.status, problem.code))

    @pages.get("/")
    def home() -> Response:
        return redirect(url_for("pages.docs"))  # type: ignore[return-value]

    @pages.get("/docs", strict_slashes=False)
    def docs() -> Response:
        return page("pages/docs.html")

    @pages.get("/docs/static/<name>")
    def docs_file(name: str) -> Response:
        return _static_file(name)

    @pages.get("/problems", strict_slashes=False)
    def problems() -> Response:
        if _wants_json():
            return _shared(jsonify({"items": [_as_json(problem) for problem in ordered]}))
        return _shared(page("pages/problems.html", problems=ordered))

    @pages.get("/problems/<code>", strict_slashes=False)
    def problem(code: str) -> Response:
        found = catalogue.get(code)
        if found is None:
            raise NotFound
        return _shared(jsonify(_as_json(found)) if _wants_json() else page("pages/problem.html", problem=found))

    return pages


def page(template: str, *, has_form: bool = False, **values: object) -> Response:
    """A page that loads nothing from elsewhere and runs no script of others."""
    response = Response(render_template(template, file=_address, **values))
    policy = _POLICY.replace("form-action 'none'", "form-action 'self'") if has_form else _POLICY
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _shared(response: Response) -> Response:
    """Let caches distinguish both forms of the page."""
    response.vary.add("Accept")
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _wants_json() -> bool:
    forms = ("text/html", "application/json", "application/problem+json")
    return request.accept_mimetypes.best_match(forms, default="text/html") != "text/html"


def _as_json(problem: ProblemType) -> dict[str, str | int]:
    return {
        "type": url_for("pages.problem", code=problem.code),
        "code": problem.code,
        "status": problem.status,
        "title": problem.title,
        "description": problem.description,
        "advice": problem.advice,
    }


def _address(name: str) -> str:
    """The file's address. It changes with the content, so that browsers never use an outdated copy."""
    return url_for("pages.docs_file", name=name, v=_digest(name))


def _static_file(name: str) -> Response:
    path = _files().get(name)
    if path is None:
        raise NotFound
    response = Response(path.read_bytes(), mimetype=_TYPES[path.suffix])
    response.set_etag(_digest(name))
    if request.args.get("v") == _digest(name):
        response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    else:
        response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@cache
def _digest(name: str) -> str:
    return sha256(_files()[name].read_bytes()).hexdigest()[:12]


@cache
def _files() -> dict[str, Path]:
    """The path of each served file; nothing else in those folders is reachable."""
    # Found without importing: the package would load its adapters for every web framework.
    spec = find_spec("swagger_ui")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package swagger-ui-py is not installed")
    swagger_ui = Path(spec.submodule_search_locations[0]) / "static"
    return {name: swagger_ui / name for name in _FROM_SWAGGER_UI} | {name: _OUR_FILES / name for name in _FROM_US}
