"""Guards of routes: they authenticate the caller and check what the route requires, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from time import time
from typing import Any, TypeVar, cast

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from backend.kernel.http.answers import fail
from backend.kernel.http.api import api, caller, current
from backend.kernel.http.bodies import BODY_LIMIT
from backend.kernel.http.caller import WITHOUT_ROLE, Caller, InvalidToken, SessionEnded
from backend.kernel.http.commands import operation_id
from backend.kernel.http.cookies import ACCESS, refuse_cross_site
from backend.kernel.http.problems import http_problem
from backend.kernel.http.refused import audit_refusal
from backend.kernel.http.shortcuts import add_notes, notes_of
from backend.kernel.limits import Use
from backend.kernel.messages.authority import ADMIN
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.refusals import Forbidden, ReauthenticationRequired

_RECENT = 600
"""Seconds within which an authentication is recent."""
_UNENCODED = {"HTTP_CONTENT_ENCODING": ("", "identity"), "HTTP_TRANSFER_ENCODING": ("", "identity", "chunked")}
"""The headers that say how a body is encoded, with what is read."""
F = TypeVar("F", bound=Callable[..., Any])


def without_token(view: F) -> F:
    """Anyone may call, and the caller is not authenticated: the route takes its own credentials, or none.

    A stale `Authorization` header must not prevent a sign-in.
    """
    return _guarded(view, "none")


def public(view: F) -> F:
    """Anyone may call. A token that is presented must still be valid."""
    return _guarded(view, "public")


def signed_in(view: F) -> F:
    """Callers with a valid access token may call."""
    return _guarded(view, "signed_in")


def once_signed_in(view: F) -> F:
    """As `signed_in`, also after the session has ended: signing out twice is fine."""
    return _guarded(view, "signed_in", session_may_have_ended=True)


def admin_only(view: F) -> F:
    """Administrators may call."""
    return _guarded(view, ADMIN)


def needs_role(role: str) -> Callable[[F], F]:
    """Callers with that role may call, and administrators."""

    def guard(view: F) -> F:
        return _guarded(view, role)

    return guard


def looks_for(look: Callable[..., object]) -> Callable[[F], F]:
    """Look up the route's resource first: a missing one is reported before an invalid body or query.

    Args:
        look: takes the arguments from the path; raises NotFound.
    """

    def mark(view: F) -> F:
        add_notes(view, look=look)
        return view

    return mark


def limited(uses: Callable[[], Sequence[Use]]) -> Callable[[F], F]:
    """Limit the commands of a route. One that is repeated under its Idempotency-Key counts once.

    Place it below `arguments`: an invalid request does not count.
    """

    def guard(view: F) -> F:
        @wraps(view)
        def within_limits(*args: Any, **kwargs: Any) -> Any:
            identity = operation_id()
            api().limits.take(uses(), once=identity if current.get().fingerprint else None)
            return view(*args, **kwargs)

        return cast("F", within_limits)

    return guard


def recently_authenticated(view: F) -> F:
    """The caller must have authenticated within the last minutes; a refresh does not count. Place it below a guard."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        require_recent_authentication()
        return view(*args, **kwargs)

    return cast("F", guarded)


def require_recent_authentication() -> None:
    """As `recently_authenticated`, for a view in which it depends on the body.

    Raises:
        ReauthenticationRequired: it was longer ago.
    """
    if time() - signed_in_caller().authenticated_at > _RECENT:
        raise ReauthenticationRequired


def signed_in_caller() -> Caller:
    """The caller of a route that requires one.

    Raises:
        InvalidToken: the caller is anonymous.
    """
    found = caller()
    if found is None:
        raise InvalidToken
    return found


def _guarded(view: F, access: str, *, session_may_have_ended: bool = False) -> F:
    notes = notes_of(view)
    look, reads_a_body = notes.get("look"), _reads_a_body(notes)

    @wraps(view)  # copies the notes of the view
    def guarded(*args: Any, **kwargs: Any) -> Any:
        """Check in the order of the contract: 401, 403, 404, 415, 413, then body and query in the view."""
        if access != "none":
            known = _identified(access, session_may_have_ended=session_may_have_ended)
            if known is None and access != "public":
                raise InvalidToken
            if access not in WITHOUT_ROLE and not (known and known.has_role(access)):
                audit_refusal(current.get())
                raise Forbidden
        if look is not None:
            look(**kwargs)
        _refuse_encoded()
        if not reads_a_body and _length() > BODY_LIMIT:
            raise RequestEntityTooLarge
        return view(*args, **kwargs)

    add_notes(guarded, access=access)
    return cast("F", guarded)


def _length() -> int:
    """How long the body is. One whose sender has not said it is read, up to one byte more than it may have."""
    environ = current.get().environ
    if "HTTP_TRANSFER_ENCODING" in environ:
        return len(request.get_data())
    return (request.content_length or 0) if environ.get("CONTENT_LENGTH") else 0


def _reads_a_body(notes: Mapping[str, Any]) -> bool:
    """Whether the view reads the body, and checks its type and its length itself."""
    in_the_body = any(one["in"] == "json" for one in notes.get("arguments", {}).get("parameters", ()))
    return in_the_body or "requestBody" in notes.get("manual_doc", ())


def _refuse_encoded() -> None:
    """Refuse encoded bodies: decompressed, they may have any size."""
    environ = current.get().environ
    if "HTTP_CONTENT_ENCODING" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    if not all(environ.get(name, "").strip().lower() in allowed for name, allowed in _UNENCODED.items()):
        detail = "The body must be sent without Content-Encoding, and in no transfer coding but chunked."
        fail(http_problem(415, current.get().request_id, detail), {"Accept-Encoding": "identity"})


def _bearer() -> str | None:
    """The token in the `Authorization` header, which wins over a cookie."""
    authorization: str | None = current.get().environ.get("HTTP_AUTHORIZATION")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken
    return token.strip()


def _identified(access: str, *, session_may_have_ended: bool) -> Caller | None:
    request = current.get()
    bearer = _bearer()
    token = bearer or ACCESS.value
    if token is None:
        return None
    try:
        found = request.api.authenticate(token)
        if access not in WITHOUT_ROLE or found.is_admin:  # never trust a token alone that its owner has a role
            found = request.api.authenticate_now(token)
    except SessionEnded as ended:
        if not session_may_have_ended:
            raise
        found = ended.caller
    if bearer is None:
        refuse_cross_site()
        request.by_cookie = True
    request.caller = found
    current_origin.set(current_origin.get()._replace(actor=found.user_id))
    return found
