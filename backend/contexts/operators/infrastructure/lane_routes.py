"""The lanes over HTTP, for administrators."""

from __future__ import annotations

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.contexts.operators.application.commands import PauseCommand, PauseLane, ResumeCommand, ResumeLane
from backend.contexts.operators.domain import rules
from backend.contexts.operators.domain.errors import CommandNotFound, LaneNotFound
from backend.contexts.operators.infrastructure.lanes import lane_histories, lane_view, lane_views
from backend.kernel.delivery.pauses import paused_tasks
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import bus
from backend.kernel.http.guards import admin_only, looks_for
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.http.schemas import Text, example

blueprint = Blueprint("lanes", __name__, description="The queues of each kind of work")
_TIME = "2026-01-02T03:04:05.678901Z"


class Pausing(ma.Schema):
    """Why the lane is paused."""

    reason = Text(
        rules.reason,
        required=True,
        metadata=example("The mail server is down", minLength=1, maxLength=rules.LONGEST_REASON),
    )


class PauseSchema(ma.Schema):
    """A pause."""

    since = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    by = ma.fields.UUID(
        required=True,
        allow_none=True,
        metadata={"description": "The administrator; null for an operator at the machine."},
    )
    reason = ma.fields.String(required=True)


class WaitSchema(ma.Schema):
    """Percentiles in seconds; null if no message was taken."""

    p50 = ma.fields.Float(required=True, allow_none=True, metadata={"examples": [0.012]})
    p95 = ma.fields.Float(required=True, allow_none=True, metadata={"examples": [0.34]})


class BehindSchema(ma.Schema):
    """A lane whose messages wait longer than five seconds."""

    seconds = ma.fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "How long they wait; null if none was ever taken.", "examples": [12.5]},
    )
    since = ma.fields.DateTime(
        required=True, allow_none=True, metadata={"description": "Within the last hour; null if unknown."}
    )


class LaneSchema(ma.Schema):
    """The current state of a lane."""

    name = ma.fields.String(required=True, metadata={"examples": ["users.hashing"]})
    ready = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Messages that no worker has taken. null while the broker does not answer."},
    )
    unacked = ma.fields.Integer(
        required=True, allow_none=True, metadata={"description": "Messages that workers have taken and not finished."}
    )
    delayed = ma.fields.Integer(
        required=True, metadata={"description": "Messages that wait for their next try, or for the end of a pause."}
    )
    consumers = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Workers that take from it. null while the broker does not answer."},
    )
    paused = ma.fields.Nested(PauseSchema, required=True, allow_none=True)
    last_taken_at = ma.fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "When work on one of its messages last began.", "examples": [_TIME]},
    )
    wait_seconds = ma.fields.Nested(
        WaitSchema,
        required=True,
        metadata={"description": "From acceptance to a worker's taking, over the last five minutes."},
    )
    behind = ma.fields.Nested(
        BehindSchema,
        required=True,
        allow_none=True,
        metadata={"description": "null while messages are taken within five seconds."},
    )
    tasks = ma.fields.List(
        ma.fields.String(),
        required=True,
        metadata={"description": "The messages that travel in it, by name.", "examples": [["users.create_user"]]},
    )


class PausedCommandSchema(PauseSchema):
    """A paused kind of message."""

    name = ma.fields.String(required=True, metadata={"examples": ["users.create_user"]})


class LaneList(ma.Schema):
    """Every lane, and the commands that are paused on their own."""

    items = ma.fields.List(ma.fields.Nested(LaneSchema), required=True)
    paused_commands = ma.fields.List(ma.fields.Nested(PausedCommandSchema), required=True)


class LaneHistorySchema(ma.Schema):
    """The last hour of a lane in 60 minutes, the oldest first."""

    name = ma.fields.String(required=True, metadata={"examples": ["users.hashing"]})
    finished = ma.fields.List(
        ma.fields.Integer(), required=True, metadata={"description": "Messages with an outcome in each minute."}
    )
    wait_p95 = ma.fields.List(
        ma.fields.Float(allow_none=True),
        required=True,
        metadata={"description": "Seconds until a worker took a message; null for a minute without one."},
    )
    per_minute = ma.fields.Float(required=True, metadata={"description": "Messages per minute in the last five."})


class LaneHistoryList(ma.Schema):
    """The last hour of every lane."""

    items = ma.fields.List(ma.fields.Nested(LaneHistorySchema), required=True)


def _find(name: str) -> None:
    if name not in bus().registry.every_lane():
        raise LaneNotFound


@blueprint.route("/lanes")
class LaneCollection(MethodView):
    """All lanes."""

    @admin_only
    @blueprint.response(200, LaneList)
    def get(self) -> Response:
        """List the lanes

        A lane is the queue of one kind of work of one context. The broker's numbers are at most a few seconds old.
        """
        paused = bus().database.read(paused_tasks, fresh=True)
        return json_response({"items": lane_views(bus()), "paused_commands": paused})


@blueprint.route("/lanes/history")
class LaneHistories(MethodView):
    """The last hour of all lanes."""

    @admin_only
    @blueprint.doc(operationId="lanes.history")
    @blueprint.response(200, LaneHistoryList)
    def get(self) -> Response:
        """Show the last hour of every lane

        By minute, from the newest 100,000 operations. A message counts when its outcome is stored.
        """
        return json_response({"items": lane_histories(bus())})


@blueprint.route("/lanes/<name>/pause")
class LanePause(MethodView):
    """Pausing of a lane."""

    @admin_only
    @looks_for(_find)
    @blueprint.arguments(Pausing)
    @refuses(LaneNotFound)
    @blueprint.response(200, LaneSchema)
    def post(self, pausing: dict[str, str], name: str) -> Response:
        """Pause a lane

        Within five seconds no worker starts a message of the lane; started ones are finished. Commands
        are accepted and wait. A pause lasts until the lane is resumed, whatever is restarted meanwhile. A paused lane
        keeps its `since` and takes the new reason.
        """
        bus().execute(PauseLane(name, **pausing))
        return json_response(lane_view(bus(), name))


@blueprint.route("/lanes/<name>/resume")
class LaneResumption(MethodView):
    """Resumption of a lane."""

    @admin_only
    @refuses(LaneNotFound)
    @blueprint.response(200, LaneSchema)
    def post(self, name: str) -> Response:
        """Resume a lane

        Within five seconds the workers continue with the waiting messages. A lane that is not paused stays as it is.
        """
        bus().execute(ResumeLane(name))
        return json_response(lane_view(bus(), name))


def _find_command(name: str) -> None:
    if name not in bus().registry.queued():
        raise CommandNotFound


@blueprint.route("/commands/<name>/pause")
class CommandPause(MethodView):
    """Pausing of one kind of message."""

    @admin_only
    @looks_for(_find_command)
    @blueprint.arguments(Pausing)
    @refuses(CommandNotFound)
    @blueprint.response(204)
    def post(self, pausing: dict[str, str], name: str) -> Response:
        """Pause a command

        Within five seconds no worker starts a message of this name; the rest of its lane goes on. Commands are accepted
        and wait. No attempt is counted. A pause lasts until the command is resumed, whatever is restarted meanwhile.
        """
        bus().execute(PauseCommand(name, **pausing))
        return Response(status=204)


@blueprint.route("/commands/<name>/resume")
class CommandResumption(MethodView):
    """Resumption of one kind of message."""

    @admin_only
    @refuses(CommandNotFound)
    @blueprint.response(204)
    def post(self, name: str) -> Response:
        """Resume a command

        Within five seconds the workers continue with the waiting messages.
        """
        bus().execute(ResumeCommand(name))
        return Response(status=204)
