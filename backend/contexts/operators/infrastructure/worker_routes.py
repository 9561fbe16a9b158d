"""The workers over HTTP, for administrators."""

from __future__ import annotations

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.contexts.operators.infrastructure.workers import worker_views
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import bus
from backend.kernel.http.guards import admin_only
from backend.kernel.http.openapi import Blueprint

blueprint = Blueprint("workers", __name__, description="Who processes what, and what runs when")
_TIME = "2026-01-02T03:04:05.678901Z"


class BusySchema(ma.Schema):
    """A message that is being processed."""

    task = ma.fields.String(required=True, metadata={"examples": ["users.create_user"]})
    since = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})


class WorkerSchema(ma.Schema):
    """A worker."""

    name = ma.fields.String(required=True, metadata={"examples": ["hashing@host"]})
    kinds = ma.fields.List(
        ma.fields.String(), required=True, metadata={"description": "Of work.", "examples": [["hashing"]]}
    )
    busy = ma.fields.List(ma.fields.Nested(BusySchema), required=True)
    processes = ma.fields.Integer(
        required=True, metadata={"description": "How many messages it can process at the same time."}
    )
    memory_bytes = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Of its processes together; what they share counts once. null where unknown."},
    )
    started_at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    seen_at = ma.fields.DateTime(
        required=True, metadata={"description": "When it last told of itself.", "examples": [_TIME]}
    )


class WorkerList(ma.Schema):
    """The workers, by name."""

    items = ma.fields.List(ma.fields.Nested(WorkerSchema), required=True)


@blueprint.route("/workers")
class WorkerCollection(MethodView):
    """All workers."""

    @admin_only
    @blueprint.response(200, WorkerList)
    def get(self) -> Response:
        """List the workers

        Each worker reports every two seconds. A missing one is listed for five more minutes: see `seen_at`.
        """
        return json_response({"items": worker_views(bus())})
