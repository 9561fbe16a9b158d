"""Listings over HTTP: signed cursors and Link headers."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import marshmallow as ma
from flask import Response, request

from backend.kernel.http.answers import json_response
from backend.kernel.http.api import api
from backend.kernel.http.bodies import invalid
from backend.kernel.keys import BadSignature
from backend.kernel.messages.paging import Page

V = TypeVar("V")


class _Limit(ma.fields.Integer):
    """ASCII digits only: Python's `int` also accepts `+5`, `1_0` and digits of other scripts."""

    def _validated(self, value: Any) -> int:
        if not re.fullmatch("[0-9]{1,4}", str(value)):
            raise self.make_error("invalid", input=value)
        return int(value)


class PageArguments(ma.Schema):
    """The query of every listing."""

    limit = _Limit(load_default=20, validate=ma.validate.Range(1, 100), metadata={"description": "Items per page."})
    cursor = ma.fields.String(metadata={"description": "`next_cursor` of the previous page."})


class Listing(Generic[V]):
    """A listing's pages: reads the cursor, writes the next one and its Link (RFC 8288)."""

    def __init__(self, name: str) -> None:
        self._purpose = f"cursor:{name}"

    def after(self, cursor: str | None, part: str = "") -> tuple[Any, ...] | None:
        """Where the previous page ended. A forged cursor, or one of another part, is refused with 422.

        Args:
            part: the order of the listing, or whose items it lists.
        """
        if cursor is None:
            return None
        try:
            given_part, *key = api().keyring.verify(self._purpose, cursor)
        except (BadSignature, TypeError, ValueError):
            given_part, key = None, []
        if given_part != part:
            invalid([{"parameter": "cursor", "detail": "Not a cursor of this listing."}])
        return tuple(key)

    def answer(self, page: Page[V], part: str = "") -> Response:
        """The page as JSON."""
        cursor = api().keyring.sign(self._purpose, [part, *page.after]) if page.after else None
        headers = {"Link": f'<{_with_cursor(cursor)}>; rel="next"'} if cursor else {}
        return json_response({"items": page.items, "next_cursor": cursor}, 200, headers)


def _with_cursor(cursor: str) -> str:
    query = {**request.args.to_dict(), "cursor": cursor}
    return f"{request.root_path}{request.path}?{urlencode(query)}"
