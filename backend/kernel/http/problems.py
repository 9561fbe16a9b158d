"""Problem details (RFC 9457): every refusal and every HTTP error in one shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from backend.kernel.http.pages import ProblemType
from backend.kernel.messages.refusals import Conflict, Denied, FieldError, Invalid, NotFound, Refusal, Stale

Problem = dict[str, Any]
CONTENT_TYPE = "application/problem+json"
STATUS_OF_KIND: dict[type[Refusal], int] = {Invalid: 422, Denied: 403, NotFound: 404, Conflict: 409, Stale: 412}
_HTTP_TYPES = {
    400: ("bad_request", "The request could not be read; most often its body is not well-formed JSON."),
    404: ("not_found", "There is nothing at this address, or it is not yours to see."),
    405: ("method_not_allowed", "This address exists, but not for this method; Allow lists those it has."),
    406: ("not_acceptable", "The answer cannot be given in a form your Accept header allows."),
    408: ("request_timeout", "The request took too long to arrive."),
    413: ("body_too_large", "The body is larger than this address accepts."),
    414: ("uri_too_long", "The address is too long."),
    415: ("unsupported_media_type", "The body must be sent as application/json."),
    429: ("too_many_requests", "Too many attempts. Wait as long as Retry-After says."),
    431: ("headers_too_large", "The request's headers are too large."),
    500: ("internal_error", "A fault on our side. It has been logged under the request id."),
    503: ("unavailable", "The service cannot take this now; nothing was done. Try again after Retry-After."),
}
_OTHER_TYPES = [
    ProblemType("invalid_token", 401, "Invalid token", "The access token is missing, malformed, expired or ended."),
    ProblemType(
        "validation_failed",
        422,
        "Validation failed",
        "The request is well formed, but some values are not acceptable. Each is listed under `errors`.",
    ),
    ProblemType(
        "idempotency_key_reused",
        422,
        "Idempotency key reused",
        "This Idempotency-Key was first sent with another body. That first operation is untouched; "
        "send the new body under a new key.",
    ),
    ProblemType("forbidden", 403, "Forbidden", "You are signed in, but not allowed to do this."),
]


def problem_types() -> dict[str, ProblemType]:
    """Every problem the API can answer with, by code."""
    types = [
        *(ProblemType(code, status, _title(code), text) for status, (code, text) in _HTTP_TYPES.items()),
        *_OTHER_TYPES,
        *(ProblemType(kind.code(), status_of(kind), _title(kind.code()), kind.description()) for kind in _refusals()),
    ]
    return {kind.code: kind for kind in types}


def status_of(kind: type[Refusal]) -> int:
    """The HTTP status of a kind of refusal: its own, or that of the kind it belongs to."""
    own = getattr(kind, "status", None)
    if isinstance(own, int):
        return own
    return next(status for parent, status in STATUS_OF_KIND.items() if issubclass(kind, parent))


def problem_of(refusal: Refusal, request_id: str) -> Problem:
    """A refusal as problem details."""
    kind = type(refusal)
    errors = refusal.errors or (
        (FieldError("", refusal.detail),) if status_of(kind) == HTTPStatus.UNPROCESSABLE_ENTITY else ()
    )
    pointers = [_pointer(error) for error in errors]
    body = problem(code_of(refusal), status_of(kind), request_id, refusal.detail, pointers)
    if "Retry-After" in refusal.headers():  # in the body as well: the outcome of a command has no headers
        body["retry_after"] = int(refusal.headers()["Retry-After"])
    return body


def code_of(refusal: Refusal) -> str:
    """The code of the problem that a refusal is."""
    kind = type(refusal)
    return "validation_failed" if kind is Invalid else kind.code()


def http_problem(status: int, request_id: str, detail: str = "") -> Problem:
    """A plain HTTP error as problem details."""
    code, text = _HTTP_TYPES.get(status) or (HTTPStatus(status).phrase.lower().replace(" ", "_"), "")
    return problem(code, status, request_id, detail or text)


def internal_error(request_id: str) -> Problem:
    """What a fault looks like from outside."""
    return http_problem(500, request_id)


def problem(
    code: str, status: int, request_id: str, detail: str = "", errors: Sequence[dict[str, str]] = ()
) -> Problem:
    """Problem details from their parts; `detail` must hold no internals and no secrets."""
    body: Problem = {
        "type": f"/problems/{code}",
        "title": _title(code),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = list(errors)
    return body


def _pointer(error: FieldError) -> dict[str, str]:
    return {"pointer": f"/{error.field}" if error.field else "", "detail": error.detail}


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize()


def _refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for child in kind.__subclasses__():
        if child not in STATUS_OF_KIND:
            yield child
        yield from _refusals(child)
