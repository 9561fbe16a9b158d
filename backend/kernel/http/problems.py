"""Problem details (RFC 9457): every refusal and every HTTP error in one form.

Only this module maps kinds of refusals to HTTP statuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backend.kernel.http.pages import ProblemType, reason_of
from backend.kernel.messages.refusals import FieldError, InternalError, Refusal, RefusalKind

Problem = dict[str, Any]
CONTENT_TYPE = "application/problem+json"

_STATUSES = {
    RefusalKind.INVALID: 422,
    RefusalKind.UNPROVEN: 401,
    RefusalKind.DENIED: 403,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.CONFLICT: 409,
    RefusalKind.STALE: 412,
    RefusalKind.THROTTLED: 429,
    RefusalKind.BUSY: 503,
    RefusalKind.FAULT: 500,
}

_HTTP_TYPES = {
    400: ("bad_request", "The request could not be parsed. Usually its body is not well-formed JSON."),
    404: ("not_found", "The resource does not exist, or you may not see it."),
    405: ("method_not_allowed", "This address does not support the method. The Allow header lists those it supports."),
    406: ("not_acceptable", "No representation matches your Accept header."),
    408: ("request_timeout", "The request took too long to arrive."),
    413: ("body_too_large", "The body is too large for this address."),
    414: ("uri_too_long", "The address is too long."),
    415: ("unsupported_media_type", "The body must be sent as application/json."),
    431: ("headers_too_large", "The headers of the request are too large."),
    500: ("internal_error", "An internal error. It has been logged under the request id."),
    503: ("unavailable", "The service cannot accept this now. Nothing was done. Retry after the time in Retry-After."),
}

_OTHER_TYPES = [
    ProblemType("invalid_token", 401, "Invalid token", "The access token is missing, malformed, expired or revoked."),
    ProblemType(
        "validation_failed",
        422,
        "Validation failed",
        "The request is well formed, but some values are invalid. Each is listed under `errors`.",
    ),
    ProblemType(
        "idempotency_key_reused",
        422,
        "Idempotency key reused",
        "This Idempotency-Key was first sent with another body. The first operation is unaffected; "
        "send the new body under a new key.",
    ),
]


class AmbiguousCode(Exception):
    """Two refusals have the same code: a client could not distinguish them."""


def problem_types(packages: Sequence[str]) -> dict[str, ProblemType]:
    """Every problem that a program can answer with, by code.

    Args:
        packages: whose refusals to include: the kernel's, and those of the program's contexts.

    Raises:
        AmbiguousCode: two refusals have the same code.
    """
    plain = [ProblemType(code, status, _title(code), text) for status, (code, text) in _HTTP_TYPES.items()]
    types = {kind.code: kind for kind in (*plain, *_OTHER_TYPES)}
    own = [refusal for refusal in _leaves(Refusal) if f"{refusal.__module__}.".startswith(tuple(packages))]
    for refusal in own:
        code = refusal.code()
        if code in types and refusal is not InternalError:
            raise AmbiguousCode(f"{refusal.__module__}.{refusal.__name__} is not the only refusal with the code {code}")
        types.setdefault(code, ProblemType(code, status_of(refusal), _title(code), refusal.description()))
    return types


def status_of(refusal: type[Refusal]) -> int:
    """The HTTP status of a refusal."""
    return _STATUSES[refusal.kind]


def problem_of(refusal: Refusal, request_id: str) -> Problem:
    """A refusal as problem details."""
    kind = type(refusal)
    errors = refusal.errors or ((FieldError("", refusal.detail),) if refusal.kind is RefusalKind.INVALID else ())
    body = problem(kind.code(), status_of(kind), request_id, refusal.detail, [_pointer(error) for error in errors])
    if refusal.retry_after is not None:  # in the body as well: the outcome of a command has no headers
        body["retry_after"] = refusal.retry_after
    return body


def headers_of(refusal: Refusal) -> dict[str, str]:
    """The headers of a refusal."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.kind is RefusalKind.UNPROVEN:  # RFC 9110, 15.5.2 requires it in every 401
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def http_problem(status: int, request_id: str, detail: str = "") -> Problem:
    """A plain HTTP error as problem details."""
    code, text = _HTTP_TYPES.get(status) or (reason_of(status).lower().replace(" ", "_"), "")
    return problem(code, status, request_id, detail or text)


def problem(
    code: str, status: int, request_id: str, detail: str = "", errors: Sequence[dict[str, str]] = ()
) -> Problem:
    """Problem details from their parts. `detail` must contain no internals and no secrets."""
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


def _leaves(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    """The refusals that are raised. Their base classes only name a kind."""
    for child in kind.__subclasses__():
        if child.__subclasses__():
            yield from _leaves(child)
        else:
            yield child
