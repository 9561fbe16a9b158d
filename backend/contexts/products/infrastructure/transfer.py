"""Files of products over HTTP: import and export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Response, request

from backend.contexts.products.application.queries import ListProducts, ProductView
from backend.contexts.products.domain.product import ProductFields
from backend.contexts.products.infrastructure.rows import READERS, Unreadable
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.http.answers import csv_response, fail
from backend.kernel.http.api import current
from backend.kernel.http.problems import http_problem
from backend.kernel.http.spreadsheets import line

_LARGEST = 5 * 1024 * 1024
_MOST_ROWS = 10_000
_COLUMNS = tuple(dict.fromkeys(("id", *ProductFields.__dataclass_fields__, *ProductView.__dataclass_fields__)))
_PAGE = 500

_FILE = {"schema": {"type": "string"}}
IMPORT_DOCUMENT: dict[str, Any] = {"requestBody": {"required": True, "content": dict.fromkeys(READERS, _FILE)}}
EXPORT_DOCUMENT: dict[str, Any] = {
    "responses": {200: {"description": "Every product, newest first.", "content": {"text/csv": _FILE}}},
}


@dataclass(frozen=True)
class Upload:
    """A file of products.

    Attributes:
        rows: the number of products in it.
    """

    media_type: str
    content: bytes
    rows: int


def upload() -> Upload:
    """The file in the request's body. The request ends with 415, 413 or 400 if it cannot be read."""
    reader = READERS.get(request.mimetype)
    if reader is None:
        fail(http_problem(415, current.get().request_id, f"The body must be sent as {' or '.join(READERS)}."))
    request.max_content_length = _LARGEST + 1  # a body without Content-Length is cut there, not refused
    content = request.get_data(cache=True)
    if len(content) > _LARGEST:
        fail(http_problem(413, current.get().request_id))
    try:
        rows = sum(1 for _ in reader(content))
    except Unreadable as error:
        fail(http_problem(400, current.get().request_id, str(error)))
    if rows > _MOST_ROWS:
        fail(http_problem(413, current.get().request_id, f"At most {_MOST_ROWS} rows are taken at once."))
    return Upload(request.mimetype, content, rows)


def csv_of(bus: Bus) -> Response:
    """Every product as CSV (RFC 4180), newest first, read page by page while it is sent."""
    return csv_response(_lines(bus), "products.csv")


def _lines(bus: Bus) -> Iterator[str]:
    yield line(_COLUMNS)
    query: ListProducts | None = ListProducts(limit=_PAGE, hidden=True)
    while query is not None:
        page = bus.ask(query)
        yield "".join(line(getattr(product, name) for name in _COLUMNS) for product in page.items)
        query = ListProducts(limit=_PAGE, hidden=True, after=page.after) if page.after else None
