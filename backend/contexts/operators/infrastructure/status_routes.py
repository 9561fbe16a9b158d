"""The state of the program over HTTP, for administrators."""

from __future__ import annotations

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.contexts.operators.infrastructure.status import status_view
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import bus
from backend.kernel.http.guards import admin_only
from backend.kernel.http.openapi import Blueprint

blueprint = Blueprint("status", __name__, description="What runs, and what needs attention")


class WarningSchema(ma.Schema):
    """One thing that is not as it should be."""

    code = ma.fields.String(
        required=True,
        metadata={"description": "Stable. Most have a page in docs/runbooks.", "examples": ["lane_without_consumers"]},
    )
    about = ma.fields.String(
        required=True,
        metadata={"description": "The lane, worker or task; empty for the program.", "examples": ["users.hashing"]},
    )
    detail = ma.fields.String(required=True)


class OutboxSchema(ma.Schema):
    """The messages that wait to be published."""

    rows = ma.fields.Integer(required=True)
    oldest_seconds = ma.fields.Float(required=True, metadata={"description": "0 if there is none."})


class StatusSchema(ma.Schema):
    """The state of the program."""

    outbox = ma.fields.Nested(OutboxSchema, required=True)
    dead_letters = ma.fields.Integer(required=True, metadata={"description": "The open ones."})
    warnings = ma.fields.List(ma.fields.Nested(WarningSchema), required=True)


@blueprint.route("/status")
class Status(MethodView):
    """The state of the program."""

    @admin_only
    @blueprint.response(200, StatusSchema)
    def get(self) -> Response:
        """Show what needs attention

        Lanes that are paused, late or without consumers, missing workers, failed scheduled runs, open dead letters,
        an outbox that is not published.
        """
        return json_response(status_view(bus()))
