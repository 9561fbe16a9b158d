"""The audit log over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.kernel.delivery.dispatch import Bus
from backend.kernel.http.answers import csv_response
from backend.kernel.http.api import bus
from backend.kernel.http.guards import admin_only
from backend.kernel.http.openapi import Blueprint
from backend.kernel.http.paging import Listing, PageArguments
from backend.kernel.http.schemas import Text
from backend.kernel.http.spreadsheets import line
from backend.kernel.observe import audit
from backend.kernel.observe.audit import AuditEntry

blueprint = Blueprint("audit", __name__, description="Who did what, and with what outcome")
listing = Listing[AuditEntry]("audit")
_USER = "0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"
_TIME = "2026-01-02T03:04:05.678901Z"
_MOST_EXPORTED, _PER_PAGE = 100_000, 1000


class AuditFilter(ma.Schema):
    """Filters of the audit log."""

    actor = ma.fields.UUID(metadata={"description": "The user who asked."})
    about = ma.fields.UUID(metadata={"description": "The user or resource that was changed."})
    action = Text(metadata={"description": "Exactly this action.", "examples": ["users.delete_user"]})
    outcome = Text(metadata={"description": "`succeeded`, or a problem's code.", "examples": ["last_admin"]})
    request_id = Text(metadata={"description": "The `X-Request-ID` of the request."})
    since = ma.fields.AwareDateTime(metadata={"description": "At or after this time.", "examples": [_TIME]})
    until = ma.fields.AwareDateTime(metadata={"description": "Before this time.", "examples": [_TIME]})


class AuditListing(AuditFilter, PageArguments):
    """The filters, and a page."""


class AuditEntrySchema(ma.Schema):
    """One action, done or refused."""

    id = ma.fields.UUID(required=True, metadata={"examples": ["0190a2b4-8d10-7b21-9c3d-5e7f10293a4b"]})
    at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    actor = ma.fields.UUID(
        required=True, allow_none=True, metadata={"examples": [_USER], "description": "null for an anonymous caller."}
    )
    replayed_by = ma.fields.UUID(
        required=True,
        allow_none=True,
        metadata={
            "examples": [None],
            "description": "The administrator who replayed the dead letter, and with whose authority it was processed.",
        },
    )
    action = ma.fields.String(required=True, metadata={"examples": ["users.delete_user"]})
    about = ma.fields.UUID(required=True, allow_none=True, metadata={"examples": [_USER]})
    detail = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "What else it was done to: a lane, for instance."}
    )
    reason = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "Why, in the words of the administrator, where asked."}
    )
    outcome = ma.fields.String(
        required=True, metadata={"examples": ["succeeded"], "description": "`succeeded`, or a problem's code."}
    )
    ip = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"examples": ["192.0.2.7"], "description": "From where; `user@host` for an operator's `flask`."},
    )
    request_id = ma.fields.String(
        required=True, allow_none=True, metadata={"examples": ["0190a2b47c3e7d1a8f003b5e9c2d4a10"]}
    )


class AuditPage(ma.Schema):
    """A page of the audit log."""

    items = ma.fields.List(ma.fields.Nested(AuditEntrySchema), required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)


@blueprint.route("/audit")
class AuditLog(MethodView):
    """The audit log."""

    @admin_only
    @blueprint.arguments(AuditListing, location="query")
    @blueprint.response(200, AuditPage)
    def get(self, wanted: dict[str, Any]) -> Response:
        """List the audit log

        Newest first: every command and every sign-in, done or refused. Entries are kept for at least 400
        days. The program never changes one, and deletes none earlier.
        """
        after = listing.after(wanted.pop("cursor", None))
        return listing.answer(bus().database.read(lambda connection: audit.entries(connection, after=after, **wanted)))


@blueprint.route("/audit/export")
class AuditExport(MethodView):
    """Export of the audit log."""

    @admin_only
    @blueprint.doc(
        responses={200: {"description": "The newest entries.", "content": {"text/csv": {"schema": {"type": "string"}}}}}
    )
    @blueprint.arguments(AuditFilter, location="query")
    def get(self, wanted: dict[str, Any]) -> Response:
        """Export the audit log as CSV

        The entries that match, newest first, at most 100,000. An apostrophe precedes a cell that a spreadsheet would
        take for a formula.
        """
        return csv_response(csv_of(bus(), wanted), "audit.csv")


def csv_of(bus: Bus, wanted: Mapping[str, Any]) -> Iterator[str]:
    """The newest entries that match every filter as CSV, read page by page."""
    names = list(AuditEntry.__dataclass_fields__)
    yield line(names)
    after: tuple[Any, ...] | None = None
    for _ in range(_MOST_EXPORTED // _PER_PAGE):
        page = bus.database.read(partial(audit.entries, limit=_PER_PAGE, after=after, **wanted), fresh=True)
        yield "".join(line(getattr(entry, name) for name in names) for entry in page.items)
        after = page.after
        if after is None:
            return
