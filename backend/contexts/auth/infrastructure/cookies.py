"""Sessions of browsers: tokens in cookies that scripts cannot read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar, cast

from flask import Response, after_this_request, request

from backend.contexts.auth.application.commands import TokenPair
from backend.contexts.auth.domain.errors import InvalidRefreshToken
from backend.kernel.http.api import current
from backend.kernel.http.cookies import ACCESS, REFRESH, SessionCookie, is_local, refuse_cross_site
from backend.kernel.messages.secret import Secret

F = TypeVar("F", bound=Callable[..., Any])


def are_wanted() -> bool:
    """Whether the client asks for cookies, or has authenticated by one."""
    return request.headers.get("X-Session") == "cookie" or current.get().by_cookie


def put(pair: TokenPair, response: Response) -> Response:
    """Set the tokens as cookies without a lifetime: a browser drops them when it is closed."""
    for cookie, token in ((ACCESS, pair.access_token), (REFRESH, pair.refresh_token)):
        response.set_cookie(cookie.name, token, **_attributes(cookie))
    return response


def clear(response: Response) -> Response:
    """Make the browser drop both cookies."""
    for cookie in (ACCESS, REFRESH):
        response.delete_cookie(cookie.name, **_attributes(cookie))
    return response


def clear_if_sent(response: Response) -> Response:
    """Drop the browser's cookies after the session has ended."""
    return clear(response) if request.cookies else response


def refreshed_by_cookie(refresh: Callable[[Secret], Response]) -> Callable[[F], F]:
    """A request without a body has its refresh token in the cookie. If it is refused, the browser drops both cookies.

    A browser that has dropped its cookies is told that the session has ended, and not that a body is missing.
    Place it above `arguments`, which requires a body.
    """

    def guard(view: F) -> F:
        @wraps(view)
        def by_body_or_cookie(*args: Any, **kwargs: Any) -> Any:
            token = REFRESH.value
            by_cookie = token is not None or "HTTP_X_CSRF" in request.environ
            if not by_cookie or not _is_empty():
                return view(*args, **kwargs)
            refuse_cross_site()
            if token is None:
                raise InvalidRefreshToken
            current.get().by_cookie = True
            after_this_request(_clear_if_refused)
            return refresh(Secret(token))

        return cast("F", by_body_or_cookie)

    return guard


def _clear_if_refused(response: Response) -> Response:
    return clear(response) if response.status_code == HTTPStatus.UNAUTHORIZED else response


def _is_empty() -> bool:
    return (request.content_length or 0) <= len("{}") and request.get_data(cache=True).strip() in (b"", b"{}")


def _attributes(cookie: SessionCookie) -> dict[str, Any]:
    return {"path": cookie.path, "secure": not is_local(), "httponly": True, "samesite": "Lax"}
