"""HTTP as every context speaks it: who may call, what a body must be, how a view is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

import marshmallow as ma
import msgspec
from flask import Request, Response, current_app, g, request
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.local import LocalProxy

from backend.kernel.delivery.bus import Bus
from backend.kernel.delivery.sealing import BadSignature, Keyring
from backend.kernel.http.problems import CONTENT_TYPE, Problem, problem
from backend.kernel.messages.origin import current_context
from backend.kernel.messages.paging import Page
from backend.kernel.postgres.listener import Listener, Waiters
from backend.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PREFIX = "/api/v1"
BODY_LIMIT = 64 * 1024
"""Bytes a JSON body may have."""
_ENTITY_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"(?:\s*,\s*(?:W/)?"[^"]*")*\s*')
_OUR_TAG = re.compile(r'(?<!W/)"([0-9]{1,18})"')
_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
"""Fractions are read as they are written: as floats, 0.10000000000000000001 and 0.1 would be the same."""

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
V = TypeVar("V")


class Caller(NamedTuple):
    """Who calls, as far as this API's own state confirms what the access token says."""

    user_id: UUID
    session_id: UUID
    roles: tuple[str, ...]
    token_expires_at: int = 0
    """`exp` of the access token: seconds since 1970."""

    @property
    def is_admin(self) -> bool:
        """Whether everything is theirs to see and change."""
        return "admin" in self.roles


class InvalidToken(Exception):
    """The access token is missing, malformed or expired, or its session has ended."""


class SessionEnded(InvalidToken):
    """The access token is ours and has not expired, but it is no longer good."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self.caller = caller


class Forbidden(Exception):
    """The caller is signed in, but may not do this."""


Authenticate = Callable[[str], Caller]
"""From an access token to the caller; raises InvalidToken when the token proves nothing."""


@dataclass(frozen=True)
class Api:
    """What a view function may reach.

    Attributes:
        await_revocations: returns once every API process knows which sessions have ended.
    """

    settings: Settings
    bus: Bus
    keyring: Keyring
    listener: Listener
    waiters: Waiters
    authenticate: Authenticate
    await_revocations: Callable[[], None]


def behind(proxy: T) -> T:
    """The object that one of Flask's proxies stands for at present: each attribute of the proxy looks it up again."""
    return cast("LocalProxy[T]", proxy)._get_current_object()


def api() -> Api:
    """The running application's parts."""
    return cast("Api", behind(current_app).extensions["api"])


def bus() -> Bus:
    """The running application's bus."""
    return api().bus


def header(name: str) -> str | None:
    """A header of the request by its name in WSGI (PEP 3333), such as HTTP_PREFER; None without it."""
    return cast("str | None", behind(request).environ.get(name))


def public(view: F) -> F:
    """Anyone may call. A token that is presented must be good all the same."""
    return _guarded(view, "public")


def signed_in(view: F) -> F:
    """Whoever presents a good access token may call."""
    return _guarded(view, "signed_in")


def once_signed_in(view: F) -> F:
    """As `signed_in`, even after the session has ended: signing out twice is fine."""
    return _guarded(view, "signed_in", session_may_have_ended=True)


def admin_only(view: F) -> F:
    """Administrators may call."""
    return _guarded(view, "admin")


def caller() -> Caller | None:
    """Who calls, None for someone anonymous."""
    return cast("Caller | None", behind(g).get("caller"))


def signed_in_caller() -> Caller:
    """Who calls, where the route lets nobody anonymous in.

    Raises:
        InvalidToken: somebody anonymous.
    """
    found = caller()
    if found is None:
        raise InvalidToken
    return found


def _guarded(view: F, access: str, *, session_may_have_ended: bool = False) -> F:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        known = _identified(session_may_have_ended=session_may_have_ended)
        if known is None and access != "public":
            raise InvalidToken
        if access == "admin" and not (known and known.is_admin):
            raise Forbidden
        return view(*args, **kwargs)

    # The test of the route map and the OpenAPI document read it here.
    guarded._apidoc = {**getattr(view, "_apidoc", {}), "access": access}  # type: ignore[attr-defined]
    return cast("F", guarded)


def _identified(*, session_may_have_ended: bool) -> Caller | None:
    authorization = header("HTTP_AUTHORIZATION")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken
    try:
        found = api().authenticate(token.strip())
    except SessionEnded as ended:
        if not session_may_have_ended:
            raise
        found = ended.caller
    behind(g).caller = found
    current_context.set(current_context.get()._replace(actor=found.user_id))
    return found


class Parser(FlaskParser):
    """Bodies and query strings: 415, 413, 400 and 422, in that order; nothing unknown passes."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - as webargs declares it
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": ma.RAISE,
    }

    def get_default_request(self) -> Request:
        """The request itself."""
        return behind(request)

    def load_json(self, req: Any, schema: ma.Schema) -> Any:
        """The body's JSON value."""
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("The body must be sent as application/json.")
        if (req.content_length or 0) > BODY_LIMIT:
            raise RequestEntityTooLarge
        body = req.get_data(cache=True)
        if len(body) > BODY_LIMIT:
            raise RequestEntityTooLarge
        try:
            return _JSON.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation):
            raise BadRequest("The body is not well-formed JSON in UTF-8.") from None

    def load_querystring(self, req: Any, schema: ma.Schema) -> Any:
        """The query's parameters; one that is given twice is refused rather than half read."""
        repeated = [name for name, values in req.args.lists() if len(values) > 1]
        if repeated:
            invalid([{"parameter": name, "detail": "Given more than once."} for name in repeated])
        return MultiDict(req.args)

    def handle_error(
        self, error: ma.ValidationError, req: Any, schema: ma.Schema, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        """Answer 422 with every reason."""
        ((location, messages),) = cast("Mapping[str, Any]", error.messages).items()
        if location == "query":
            invalid([{"parameter": name.strip("/"), "detail": text} for name, text in _flat(messages)])
        invalid([{"pointer": name, "detail": text} for name, text in _flat(messages)])


def invalid(errors: Sequence[dict[str, str]]) -> NoReturn:
    """End the request as 422 for these reasons."""
    fail(problem("validation_failed", 422, g.request_id, "Some values are not acceptable.", errors))


def _flat(messages: Any, path: str = "") -> list[tuple[str, str]]:
    """The nested messages as (JSON pointer, text) pairs (RFC 6901)."""
    if isinstance(messages, Mapping):
        return [
            pair
            for key, inner in messages.items()
            for pair in _flat(inner, path if key == "_schema" else f"{path}/{_escaped(str(key))}")
        ]
    return [(path, str(text)) for text in messages]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def fail(body: Problem, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End the request with these problem details."""
    raise HTTPException(response=problem_response(body, headers))


def problem_response(body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Problem details as a response."""
    return json_response(body, body["status"], headers, CONTENT_TYPE)


class _Finished(Response):
    """A response whose headers need no more work: its length is set, and every address in it is ASCII."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """As they are: to look through them again takes 5 % of an accepted POST."""
        return self.headers


def json_response(
    body: object,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Response:
    """Any plain data or view as JSON."""
    response = _Finished(msgspec.json.encode(body), status, content_type=content_type)
    for name, value in (headers or {}).items():  # cheaper than `update`
        response.headers[name] = value
    return response


class Versioned(Protocol):
    """A view of a single resource."""

    @property
    def version(self) -> int:
        """Raised with each change of the resource."""


def shown(view: Versioned, status: int = 200, part: object = None) -> Response:
    """A single resource with its ETag; 304 when the caller has this version already.

    Args:
        part: what to show of the view, when not all of it.
    """
    etag = f"{view.version}" if part is None else f"{view.version}-part"
    if status == HTTPStatus.OK and behind(request).if_none_match.contains_weak(etag):
        return Response(status=304, headers={"ETag": f'"{etag}"'})
    return json_response(view if part is None else part, status, {"ETag": f'"{etag}"'})


def expected_version() -> int | None:
    """The version that If-Match demands (RFC 9110, 13.1.1); None without the header, or for `*`.

    Versions only grow, so of several the highest decides. What is no tag of ours matches no
    version: it reads as -1, because a condition must never become an unconditional write.
    """
    condition = header("HTTP_IF_MATCH")
    if condition is None or condition.strip() == "*":
        return None
    if not _ENTITY_TAGS.fullmatch(condition):
        return -1
    return max((int(version) for version in _OUR_TAG.findall(condition)), default=-1)


class _Limit(ma.fields.Integer):
    """Plain digits: Python's `int` also reads `+5`, `1_0` and other scripts' digits."""

    def _validated(self, value: Any) -> int:
        if not re.fullmatch("[0-9]{1,4}", str(value)):
            raise self.make_error("invalid", input=value)
        return int(value)


class PageArguments(ma.Schema):
    """The query of every listing."""

    limit = _Limit(load_default=20, validate=ma.validate.Range(1, 100), metadata={"description": "Items per page."})
    cursor = ma.fields.String(metadata={"description": "`next_cursor` of the page before."})


class Listing(Generic[V]):
    """A listing's pages: reads the cursor, writes the next one and its Link (RFC 8288)."""

    def __init__(self, name: str) -> None:
        self._purpose = f"cursor:{name}"

    def after(self, cursor: str | None, sort: str = "") -> tuple[Any, ...] | None:
        """Where the page before ended; a forged cursor, or one of another sort order, ends as 422."""
        if cursor is None:
            return None
        try:
            given_sort, *key = api().keyring.verify(self._purpose, cursor)
        except (BadSignature, TypeError, ValueError):
            given_sort, key = None, []
        if given_sort != sort:
            invalid([{"parameter": "cursor", "detail": "Not a cursor of this listing."}])
        return tuple(key)

    def answer(self, page: Page[V], sort: str = "") -> Response:
        """The page as JSON."""
        cursor = api().keyring.sign(self._purpose, [sort, *page.after]) if page.after else None
        headers = {"Link": f'<{_with_cursor(cursor)}>; rel="next"'} if cursor else {}
        return json_response({"items": page.items, "next_cursor": cursor}, 200, headers)


def _with_cursor(cursor: str) -> str:
    query = {**request.args.to_dict(), "cursor": cursor}
    return f"{request.path}?{urlencode(query)}"
