"""The state of the program over HTTP, for administrators."""

from __future__ import annotations

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.contexts.operators.infrastructure.about import about_view
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


class KeySchema(ma.Schema):
    """A secret key, without the key."""

    id = ma.fields.String(required=True, metadata={"description": "As messages name it.", "examples": ["fe4bf143"]})
    use = ma.fields.String(required=True, validate=ma.validate.OneOf(["signs", "verifies"]))


class AboutSchema(ma.Schema):
    """What this process runs."""

    version = ma.fields.String(required=True, metadata={"examples": ["0.2.0"]})
    commit = ma.fields.String(required=True, metadata={"description": "Empty if COMMIT is not set."})
    environment = ma.fields.String(required=True, validate=ma.validate.OneOf(["development", "production"]))
    contexts = ma.fields.List(ma.fields.String(), required=True, metadata={"description": "Whose routes it serves."})
    limits = ma.fields.Dict(
        required=True,
        keys=ma.fields.String(),
        metadata={
            "description": "Every setting that is a number or a switch.",
            "examples": [{"spool_limit": 10000, "require_email_verification": False}],
        },
    )
    keys = ma.fields.List(ma.fields.Nested(KeySchema), required=True)
    migrations_pending = ma.fields.List(
        ma.fields.String(),
        required=True,
        metadata={"description": "Revisions that this code has and the database has not."},
    )
    migrations_unknown = ma.fields.List(
        ma.fields.String(),
        required=True,
        metadata={"description": "Revisions of the database that this code does not have: a newer release was here."},
    )


@blueprint.route("/about")
class About(MethodView):
    """What runs."""

    @admin_only
    @blueprint.response(200, AboutSchema)
    def get(self) -> Response:
        """Show what this process runs

        Version, commit, contexts, limits, the ids of its keys, and migrations. No text of a setting is shown.
        """
        return json_response(about_view(bus()))


@blueprint.route("/status")
class Status(MethodView):
    """The state of the program."""

    @admin_only
    @blueprint.response(200, StatusSchema)
    def get(self) -> Response:
        """Show what needs attention

        Commits that wait for a standby, missing and stuck workers, lanes that are full, paused, late or without
        consumers, paused commands, failed scheduled runs, open dead letters, an outbox that is not published.
        """
        return json_response(status_view(bus()))
