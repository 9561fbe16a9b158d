"""CORS (Fetch standard): which origins may read our answers, and which headers they may send and read."""

from __future__ import annotations

from flask import Flask, Response, request

from backend.kernel.http.origins import Origins

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ALLOWED = (
    "Authorization, Content-Type, Prefer, Idempotency-Key, If-Match, If-None-Match, X-Request-ID, X-CSRF, X-Session, "
    "traceparent, tracestate, baggage"
)
_EXPOSED = (
    "Location, Retry-After, ETag, Link, X-Request-ID, Preference-Applied, Content-Disposition, WWW-Authenticate, Allow"
)
_TEN_MINUTES = "600"


def share_with(origins: Origins, app: Flask) -> None:
    """Let pages of these origins use the API, with credentials."""

    @app.before_request
    def answer_preflight() -> Response | None:
        """Answer a preflight. The answer is the same for every address: a wrong one is reported by the
        request itself, as a problem that the page can read.
        """
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asks or request.headers.get("Origin", "") not in origins:
            return None
        allowed = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _ALLOWED,
            "Access-Control-Max-Age": _TEN_MINUTES,
        }
        return Response(status=204, headers=allowed)

    @app.after_request
    def let_read(response: Response) -> Response:
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin", "")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return response
