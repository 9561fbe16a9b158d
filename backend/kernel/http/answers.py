"""Responses: JSON, ETags, problem details."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, NoReturn, Protocol
from uuid import UUID

import msgspec
import structlog
from flask import Response
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_etags

from backend.kernel.http.api import current, root
from backend.kernel.http.problems import CONTENT_TYPE, Problem
from backend.kernel.http.shortcuts import Finished

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_INCOMPLETE = "INCOMPLETE: the rest could not be read. Export again.\r\n"
_SAFE = ("GET", "HEAD", "OPTIONS")
_ENTITY_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"(?:\s*,\s*(?:W/)?"[^"]*")*\s*')
_OUR_TAG = re.compile(r'(?<!W/)"([0-9a-f-]{36})\.([0-9]{1,18})"')

log = structlog.get_logger(__name__)


def fail(body: Problem, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End the request with these problem details."""
    raise HTTPException(response=problem_response(body, headers))


def problem_response(body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Problem details as a response."""
    current.get().problem = body["code"]
    return json_response(rooted(body), body["status"], headers, CONTENT_TYPE)


def csv_response(parts: Iterator[str], file_name: str) -> Response:
    """A CSV file that is read while it is sent. Its heading and first page are read before the answer begins, so that a
    database that is away is still a 503.
    """
    first = [*islice(parts, 2)]
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
    return Response(_or_incomplete(chain(first, parts)), content_type="text/csv; charset=utf-8", headers=headers)


def _or_incomplete(parts: Iterator[str]) -> Iterator[str]:
    """Say at the end of a file that it was cut: the server below ends the answer like a complete one."""
    try:
        yield from parts
    except Exception as error:  # noqa: BLE001 - whatever it is, the reader must learn of it
        log.warning("file cut", reason=type(error).__name__)
        yield _INCOMPLETE


def rooted(body: Problem) -> Problem:
    """Problem details with the address of their page: the worker that made them does not know the proxies' prefix."""
    return {**body, "type": root() + body["type"]} if root() else body


def json_response(
    body: object,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Response:
    """Any plain data or view as JSON."""
    response = Finished(msgspec.json.encode(body), status, content_type=content_type)
    for name, value in (headers or {}).items():  # cheaper than `update`
        response.headers.add(name, value)
    return response


class Versioned(Protocol):
    """A view of a single resource."""

    @property
    def id(self) -> UUID:
        """The id of the resource."""

    @property
    def version(self) -> int:
        """Raised with each change of the resource."""


def resource_response(view: Versioned, status: int = 200, part: object = None) -> Response:
    """A single resource with its ETag; 304 if the caller has this version already.

    The tag names resource and version: what a browser has stored of one user at `/users/me` must not pass for
    the next user's.

    Args:
        part: the part of the view to show, if not all of it.
    """
    etag = f"{view.id}.{view.version}" if part is None else f"{view.id}.{view.version}-part"
    if status == HTTPStatus.OK and parse_etags(current.get().environ.get("HTTP_IF_NONE_MATCH")).contains_weak(etag):
        return Response(status=304, headers={"ETag": f'"{etag}"'})
    return json_response(view if part is None else part, status, {"ETag": f'"{etag}"'})


def expected_version(resource_id: UUID) -> int | None:
    """The version of the resource that If-Match demands (RFC 9110, 13.1.1); None without the header, or for `*`.

    Versions only grow, so the highest of several decides. A tag of another resource matches no
    version: it is read as -1, because a condition must never become an unconditional write.
    """
    condition = current.get().environ.get("HTTP_IF_MATCH")
    if condition is None or condition.strip() == "*":
        return None
    if not _ENTITY_TAGS.fullmatch(condition):
        return -1
    tags = _OUR_TAG.findall(condition)
    return max((int(version) for of, version in tags if of == str(resource_id)), default=-1)


def tell_caches(response: Response, environ: WSGIEnvironment) -> None:
    """Answers to requests with credentials, and to writes, must not be stored; others must be revalidated.

    A view may set another policy for what is the same for everybody.
    """
    headers = response.headers
    policy = headers.get("Cache-Control", "")
    if "public" in policy:
        return
    asks = environ["REQUEST_METHOD"] in _SAFE
    private = not asks or "HTTP_AUTHORIZATION" in environ or "HTTP_COOKIE" in environ
    if not policy:
        headers.add("Cache-Control", "no-store" if private else "no-cache")
    elif private:
        headers["Cache-Control"] = "no-store"
    headers.add("Vary", "Authorization, Cookie")
