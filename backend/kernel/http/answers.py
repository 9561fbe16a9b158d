"""Responses: JSON, ETags, problem details."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NoReturn, Protocol

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_etags

from backend.kernel.http.api import current
from backend.kernel.http.problems import CONTENT_TYPE, Problem
from backend.kernel.http.shortcuts import Finished

_ENTITY_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"(?:\s*,\s*(?:W/)?"[^"]*")*\s*')
_OUR_TAG = re.compile(r'(?<!W/)"([0-9]{1,18})"')


def fail(body: Problem, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End the request with these problem details."""
    raise HTTPException(response=problem_response(body, headers))


def problem_response(body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Problem details as a response."""
    return json_response(body, body["status"], headers, CONTENT_TYPE)


def json_response(
    body: object,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Response:
    """Any plain data or view as JSON."""
    response = Finished(msgspec.json.encode(body), status, content_type=content_type)
    for name, value in (headers or {}).items():  # cheaper than `update`
        response.headers[name] = value
    return response


class Versioned(Protocol):
    """A view of a single resource."""

    @property
    def version(self) -> int:
        """Raised with each change of the resource."""


def shown(view: Versioned, status: int = 200, part: object = None) -> Response:
    """A single resource with its ETag; 304 if the caller has this version already.

    Args:
        part: the part of the view to show, if not all of it.
    """
    etag = f"{view.version}" if part is None else f"{view.version}-part"
    if status == HTTPStatus.OK and parse_etags(current.get().environ.get("HTTP_IF_NONE_MATCH")).contains_weak(etag):
        return Response(status=304, headers={"ETag": f'"{etag}"'})
    return json_response(view if part is None else part, status, {"ETag": f'"{etag}"'})


def expected_version() -> int | None:
    """The version that If-Match demands (RFC 9110, 13.1.1); None without the header, or for `*`.

    Versions only grow, so the highest of several decides. A tag that is not ours matches no
    version: it is read as -1, because a condition must never become an unconditional write.
    """
    condition = current.get().environ.get("HTTP_IF_MATCH")
    if condition is None or condition.strip() == "*":
        return None
    if not _ENTITY_TAGS.fullmatch(condition):
        return -1
    return max((int(version) for version in _OUR_TAG.findall(condition)), default=-1)
