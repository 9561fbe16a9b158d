"""The dead letters over HTTP, for administrators."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.contexts.operators.application.commands import (
    MOST_AT_ONCE,
    DiscardDeadLetter,
    DiscardGroup,
    Group,
    ReplayDeadLetter,
    ReplayGroup,
)
from backend.contexts.operators.domain import rules
from backend.contexts.operators.domain.errors import DeadLetterNotFound, DeadLetterSettled, NotReplayable
from backend.contexts.operators.infrastructure import dead_letters as letters
from backend.contexts.operators.infrastructure.dead_letters import DeadLetterSummary, DeadLetterView
from backend.kernel.delivery.dead_letters import Reason, State
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import bus
from backend.kernel.http.guards import admin_only, looks_for
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.http.paging import Listing, PageArguments
from backend.kernel.http.schemas import Text, example

blueprint = Blueprint("dead-letters", __name__, description="Messages that could not be processed")
listing = Listing[DeadLetterSummary]("dead-letters")
_ID = "0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"
_TIME = "2026-01-02T03:04:05.678901Z"


class DeadLetterFilter(ma.Schema):
    """Filters of dead letters."""

    task = Text(metadata={"examples": ["users.create_user"]})
    status = ma.fields.String(validate=ma.validate.OneOf(list(State)))
    reason = ma.fields.String(validate=ma.validate.OneOf(list(Reason)))
    error = Text(metadata={"description": "The exception's type.", "examples": ["ZeroDivisionError"]})


class DeadLetterListing(DeadLetterFilter, PageArguments):
    """Filters of the list of dead letters."""

    request_id = Text(metadata={"description": "The `X-Request-ID` of the request that sent the message."})


class GroupSchema(ma.Schema):
    """Which open dead letters: those that match every given field. At least one is required."""

    task = Text(metadata={"examples": ["users.create_user"]})
    reason = ma.fields.String(validate=ma.validate.OneOf(list(Reason)))
    error = Text()

    @ma.validates_schema
    def _something(self, group: dict[str, str], **_: Any) -> None:
        if not group.keys() & {"task", "reason", "error"}:
            raise ma.ValidationError("Give a task, a reason or an error.")


class Discarding(ma.Schema):
    """Why the message will not be processed."""

    reason = Text(
        rules.reason,
        required=True,
        metadata=example("The account is gone.", minLength=1, maxLength=rules.LONGEST_REASON),
    )


class DiscardingGroup(GroupSchema):
    """Which open dead letters will not be processed, and why."""

    note = Text(
        rules.reason,
        required=True,
        metadata=example("The feature is gone.", minLength=1, maxLength=rules.LONGEST_REASON),
    )


class DiscardedSchema(ma.Schema):
    """The result of discarding a group."""

    discarded = ma.fields.Integer(required=True)


class DeadLetterSummarySchema(ma.Schema):
    """A dead letter in a listing."""

    id = ma.fields.UUID(required=True, metadata={"examples": [_ID]})
    message_id = ma.fields.UUID(required=True, metadata={"description": "And of the operation.", "examples": [_ID]})
    task = ma.fields.String(required=True, metadata={"examples": ["users.create_user"]})
    lane = ma.fields.String(required=True, metadata={"examples": ["users.hashing"]})
    reason = ma.fields.String(required=True, validate=ma.validate.OneOf(list(Reason)))
    error = ma.fields.String(required=True, metadata={"description": "The exception's type.", "examples": ["KeyError"]})
    status = ma.fields.String(required=True, validate=ma.validate.OneOf(list(State)))
    times = ma.fields.Integer(required=True, metadata={"description": "1, plus 1 for each replay that failed."})
    first_dead_at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    last_dead_at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    note = ma.fields.String(required=True, allow_none=True, metadata={"description": "Why it was discarded."})
    request_id = ma.fields.String(required=True, allow_none=True)


class DeadLetterSchema(DeadLetterSummarySchema):
    """A dead letter in full. Secrets are masked; a traceback contains no values."""

    headers = ma.fields.Dict(required=True)
    body = ma.fields.Dict(required=True, allow_none=True, metadata={"description": "null if it could not be decoded."})
    raw = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "The raw bytes in base64, if the body is null."}
    )
    content_type = ma.fields.String(required=True)
    traceback = ma.fields.List(ma.fields.Dict(), required=True)
    operation = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "The current status of its operation."}
    )


class DeadLetterPage(ma.Schema):
    """A page of dead letters."""

    items = ma.fields.List(ma.fields.Nested(DeadLetterSummarySchema), required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)


class DeadLetterGroupSchema(ma.Schema):
    """Dead letters with the same task, reason and error."""

    task = ma.fields.String(required=True)
    reason = ma.fields.String(required=True)
    error = ma.fields.String(required=True)
    number = ma.fields.Integer(required=True)
    first_dead_at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    last_dead_at = ma.fields.DateTime(required=True, metadata={"examples": [_TIME]})
    per_hour = ma.fields.List(
        ma.fields.Integer(),
        required=True,
        metadata={"description": "How many failed last in each of the last 24 hours, the oldest first."},
    )


class DeadLetterGroups(ma.Schema):
    """The groups, the largest first."""

    items = ma.fields.List(ma.fields.Nested(DeadLetterGroupSchema), required=True)


class ReplayedSchema(ma.Schema):
    """The result of a replay."""

    replayed = ma.fields.Integer(required=True)
    remaining = ma.fields.Integer(
        required=True, metadata={"description": f"Those still open: beyond {MOST_AT_ONCE} at once, or not replayable."}
    )


def _found(dead_letter_id: UUID) -> DeadLetterView:
    read = bus().database.read
    return read(lambda connection: letters.dead_letter(connection, dead_letter_id), fresh=True)


@blueprint.route("/dead-letters")
class DeadLetterCollection(MethodView):
    """All dead letters."""

    @admin_only
    @blueprint.arguments(DeadLetterListing, location="query")
    @blueprint.response(200, DeadLetterPage)
    def get(self, wanted: dict[str, Any]) -> Response:
        """List dead letters

        The most recent first. Dead letters are kept for 14 days.
        """
        after = listing.after(wanted.pop("cursor", None))
        read = bus().database.read
        return listing.answer(read(lambda connection: letters.listing(connection, after=after, **wanted)))


@blueprint.route("/dead-letters/groups")
class DeadLetterGrouping(MethodView):
    """Groups of dead letters."""

    @admin_only
    @blueprint.arguments(DeadLetterFilter, location="query")
    @blueprint.response(200, DeadLetterGroups)
    def get(self, wanted: dict[str, Any]) -> Response:
        """Group dead letters by task, reason and error

        The largest group first, at most 100 of them.
        """
        return json_response({"items": bus().database.read(lambda connection: letters.groups(connection, **wanted))})


@blueprint.route("/dead-letters/replay")
class DeadLetterGroupReplay(MethodView):
    """Replay of a group."""

    @admin_only
    @blueprint.doc(operationId="deadLetters.replayGroup")
    @blueprint.arguments(GroupSchema)
    @blueprint.response(200, ReplayedSchema)
    def post(self, group: dict[str, str]) -> Response:
        """Replay the open dead letters of a group

        At most 1000 at once, the oldest first. Repeat until none is replayed. Messages that are `expired` are left out,
        unless `reason` names them.
        """
        return json_response(bus().execute(ReplayGroup(Group(**group))))


@blueprint.route("/dead-letters/discard")
class DeadLetterGroupDiscard(MethodView):
    """Discarding of a group."""

    @admin_only
    @blueprint.doc(operationId="deadLetters.discardGroup")
    @blueprint.arguments(DiscardingGroup)
    @blueprint.response(200, DiscardedSchema)
    def post(self, group: dict[str, str]) -> Response:
        """Discard the open dead letters of a group

        All of them at once. Their operations stay `failed`. Each can still be replayed.
        """
        note = group.pop("note")
        return json_response({"discarded": bus().execute(DiscardGroup(Group(**group), note))})


@blueprint.route("/dead-letters/<uuid:dead_letter_id>")
class DeadLetterItem(MethodView):
    """One dead letter."""

    @admin_only
    @refuses(DeadLetterNotFound)
    @blueprint.response(200, DeadLetterSchema)
    def get(self, dead_letter_id: UUID) -> Response:
        """Show a dead letter"""
        return json_response(_found(dead_letter_id))


@blueprint.route("/dead-letters/<uuid:dead_letter_id>/replay")
class DeadLetterReplay(MethodView):
    """Replay of a dead letter."""

    @admin_only
    @refuses(DeadLetterNotFound, NotReplayable)
    @blueprint.response(200, DeadLetterSchema)
    def post(self, dead_letter_id: UUID) -> Response:
        """Replay a dead letter

        Its message is delivered again within seconds, on behalf of whoever sent it first. It takes effect once, however
        often it is replayed; an `expired` one may have taken effect before. Its operation may change from `failed` to
        `succeeded`. If it fails again, it is open again and `times` is one higher.
        """
        bus().execute(ReplayDeadLetter(dead_letter_id))
        return json_response(_found(dead_letter_id))


@blueprint.route("/dead-letters/<uuid:dead_letter_id>/discard")
class DeadLetterDiscard(MethodView):
    """Discarding of a dead letter."""

    @admin_only
    @looks_for(_found)
    @blueprint.arguments(Discarding)
    @refuses(DeadLetterNotFound, DeadLetterSettled)
    @blueprint.response(200, DeadLetterSchema)
    def post(self, discarding: dict[str, str], dead_letter_id: UUID) -> Response:
        """Discard a dead letter

        Its operation stays `failed`. A discarded dead letter can still be replayed.
        """
        bus().execute(DiscardDeadLetter(dead_letter_id, **discarding))
        return json_response(_found(dead_letter_id))
