"""What operators ask about operations, over HTTP."""

from __future__ import annotations

from datetime import timedelta

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.contexts.operators.infrastructure.statistics import of_commands
from backend.contexts.operators.infrastructure.traces import trace_of, trace_of_address
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import bus
from backend.kernel.http.guards import admin_only
from backend.kernel.http.openapi import Blueprint
from backend.kernel.http.operations import command_names
from backend.kernel.http.schemas import Text

blueprint = Blueprint("traces", __name__, description="What became of commands, and of one request")
LONGEST_WINDOW = 24 * 60
_TIME = "2026-01-02T03:04:05.678901Z"


class Window(ma.Schema):
    """The window of statistics."""

    minutes = ma.fields.Integer(
        load_default=60,
        validate=ma.validate.Range(1, LONGEST_WINDOW),
        metadata={"description": "The operations that were finished within so many minutes."},
    )


class CommandStatisticsSchema(ma.Schema):
    """What became of a command. Durations are in seconds, from acceptance to outcome."""

    command = ma.fields.String(required=True, metadata={"examples": ["users.create_user"]})
    succeeded = ma.fields.Integer(required=True)
    failed = ma.fields.Integer(required=True)
    p50 = ma.fields.Float(required=True, allow_none=True, metadata={"examples": [0.21]})
    p95 = ma.fields.Float(required=True, allow_none=True, metadata={"examples": [0.34]})
    problems = ma.fields.Dict(
        required=True,
        keys=ma.fields.String(),
        values=ma.fields.Integer(),
        metadata={"description": "How many failed, by the code of the problem.", "examples": [{"email_taken": 2}]},
    )


class CommandStatisticsList(ma.Schema):
    """What became of every command that was finished within the window."""

    since = ma.fields.DateTime(
        required=True,
        metadata={
            "description": "The beginning of the window; later if more than 100,000 operations were finished in it.",
            "examples": [_TIME],
        },
    )
    items = ma.fields.List(ma.fields.Nested(CommandStatisticsSchema), required=True)


class MailboxSchema(ma.Schema):
    """Whose requests."""

    email = Text(required=True, metadata={"examples": ["ada@example.com"], "format": "email"})


class StepSchema(ma.Schema):
    """One step of a timeline."""

    at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    what = ma.fields.String(
        required=True, metadata={"description": "Such as accepted, taken, succeeded, audited.", "examples": ["taken"]}
    )
    subject = ma.fields.String(
        required=True,
        metadata={"description": "The message, mail or action it is about.", "examples": ["users.create_user"]},
    )
    detail = ma.fields.String(required=True)


class TraceSchema(ma.Schema):
    """The timeline of a request. It is empty if nothing is stored."""

    request_ids = ma.fields.List(ma.fields.String(), required=True)
    steps = ma.fields.List(ma.fields.Nested(StepSchema), required=True, metadata={"description": "The oldest first."})
    note = ma.fields.String(  # `unknown` is an option of every schema
        required=True, data_key="unknown", metadata={"description": "What is not visible here, in words."}
    )


@blueprint.route("/operations/stats")
class OperationStatistics(MethodView):
    """Statistics of operations."""

    @admin_only
    @blueprint.doc(operationId="operations.stats")
    @blueprint.arguments(Window, location="query")
    @blueprint.response(200, CommandStatisticsList)
    def get(self, window: dict[str, int]) -> Response:
        """Show how fast commands end, and how

        By command: how many succeeded and failed, why, and the time from acceptance to outcome.
        """
        names, asked = command_names(), timedelta(**window)
        return json_response(bus().database.read(lambda connection: of_commands(connection, names, asked)))


@blueprint.route("/traces")
class TraceSearch(MethodView):
    """Timelines by address."""

    @admin_only
    @blueprint.arguments(MailboxSchema)
    @blueprint.response(200, TraceSchema)
    def post(self, asked: dict[str, str]) -> Response:
        """Find requests by an e-mail address

        The timeline of the 100 most recent requests whose messages contain the address, such as an anonymous
        registration or forgotten password. The address is sent in the body: it must not appear in a log of addresses.
        """
        return json_response(trace_of_address(asked["email"]))


@blueprint.route("/traces/<identity>")
class TraceItem(MethodView):
    """The timeline of a request."""

    @admin_only
    @blueprint.response(200, TraceSchema)
    def get(self, identity: str) -> Response:
        """Show the timeline of a request

        Name it by its `X-Request-ID`, or by the handle or id of one of its operations. The steps are those that
        PostgreSQL has stored: accepted, taken by which worker, outcomes, events, mails, dead letters, audit entries.
        """
        return json_response(trace_of(identity))
