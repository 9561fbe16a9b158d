"""The workers over HTTP, for administrators."""

from __future__ import annotations

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.contexts.operators.infrastructure.workers import schedule_views, worker_views
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import bus
from backend.kernel.http.guards import admin_only
from backend.kernel.http.openapi import Blueprint

blueprint = Blueprint("workers", __name__, description="Who processes what, and what runs when")
_TIME = "2026-01-02T03:04:05.678901Z"


class BusySchema(ma.Schema):
    """A message that is being processed."""

    task = ma.fields.String(required=True, metadata={"examples": ["users.create_user"]})
    id = ma.fields.String(
        metadata={"description": "Of the operation.", "examples": ["0190a2b4-8d10-7b21-9c3d-5e7f10293a4b"]}
    )
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
    seen_at = ma.fields.DateTime(required=True, metadata={"description": "When it last reported.", "examples": [_TIME]})
    clock_ahead_seconds = ma.fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Its clock, ahead of the database's; negative while it is behind.", "examples": [0.0]},
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


class RunSchema(ma.Schema):
    """A run."""

    started_at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    finished_at = ma.fields.DateTime(required=True, allow_none=True, metadata={"description": "null while it runs."})
    result = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "`succeeded`, or the code of the problem.", "examples": ["succeeded"]},
    )


class ScheduledSchema(ma.Schema):
    """A scheduled command or task."""

    name = ma.fields.String(required=True, metadata={"examples": ["maintenance.purge"]})
    rule = ma.fields.String(required=True, metadata={"description": "When it runs.", "examples": ["every 3600 s"]})
    next_run_at = ma.fields.DateTime(
        required=True, allow_none=True, metadata={"description": "null for housekeeping, which beat schedules."}
    )
    last_run = ma.fields.Nested(RunSchema, required=True, allow_none=True)
    missed = ma.fields.Integer(
        required=True,
        metadata={"description": "Runs that were skipped, because the one before had not ended or nothing ran."},
    )


class ScheduleList(ma.Schema):
    """The scheduled commands and tasks, by name."""

    items = ma.fields.List(ma.fields.Nested(ScheduledSchema), required=True)


@blueprint.route("/schedule")
class ScheduleCollection(MethodView):
    """The schedule."""

    @admin_only
    @blueprint.response(200, ScheduleList)
    def get(self) -> Response:
        """List what runs on schedule

        The commands that contexts have declared to run on schedule, and the housekeeping of the program, each with
        its last run.
        """
        return json_response({"items": schedule_views(bus())})
