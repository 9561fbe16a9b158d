"""Operations over HTTP: the status and outcome of a command."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.kernel.delivery.inbox import Status
from backend.kernel.delivery.operations import PENDING
from backend.kernel.http.commands import wanted_wait
from backend.kernel.http.guards import public, signed_in
from backend.kernel.http.openapi import PREFER, Blueprint, OperationSchema, refuses
from backend.kernel.http.operations import cancelled, operation, operations
from backend.kernel.http.paging import PageArguments
from backend.kernel.http.schemas import Text, example
from backend.kernel.messages.refusals import Forbidden, NotFound, OperationFinished, UnknownAfterRestore

blueprint = Blueprint("operations", __name__, description="The status and outcome of commands")
_USER = "0190a2b4-7c3e-7d1a-8f00-3b5e9c2d4a10"


class OperationFilter(PageArguments):
    """The filters of the listing."""

    status = ma.fields.String(validate=ma.validate.OneOf([PENDING, *Status]))
    command = Text(metadata=example("users.update_profile", "Exactly this command."))
    resource = Text(metadata=example(f"/api/v1/users/{_USER}", "Exactly this resource."))
    since = ma.fields.AwareDateTime(
        metadata=example("2026-01-02T03:04:05Z", "Finished or spooled at this time or later.")
    )
    until = ma.fields.AwareDateTime(metadata=example("2026-01-02T03:04:05Z", "Finished or spooled before this time."))
    id = ma.fields.UUID(metadata=example(_USER, "The operation with this id, as logs and `flask trace` show it."))
    actor = ma.fields.UUID(metadata=example(_USER, "The sender of the command. Admins only."))
    request_id = Text(metadata=example("0190a2b47c3e7d1a8f003b5e9c2d4a10", "The `X-Request-ID`. Admins only."))


class ListedOperationSchema(OperationSchema):
    """An operation in a listing."""

    actor = ma.fields.UUID(allow_none=True, metadata=example(_USER, "The sender of the command. Admins only."))
    request_id = ma.fields.String(allow_none=True, metadata={"description": "The `X-Request-ID`. Admins only."})


class OperationPage(ma.Schema):
    """A page of operations."""

    items = ma.fields.List(ma.fields.Nested(ListedOperationSchema), required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)


@blueprint.route("/operations")
class OperationCollection(MethodView):
    """The operations of the caller."""

    @signed_in
    @blueprint.arguments(OperationFilter, location="query")
    @blueprint.response(200, OperationPage)
    @refuses(Forbidden)
    def get(self, wanted: dict[str, Any]) -> Response:
        """List your operations

        Newest first: those that succeeded or failed in the last 30 days, and those that wait in the spool while
        RabbitMQ is away. An operation that is still in a queue is found by its handle only. Administrators see
        the operations of all users, and may filter by `actor` and `request_id`.
        """
        return operations(wanted)


@blueprint.route("/operations/<handle>")
class OperationItem(MethodView):
    """One operation."""

    @public
    @blueprint.doc(parameters=[PREFER])
    @blueprint.response(200, OperationSchema, headers={"Preference-Applied": {}, "Retry-After": {}})
    @refuses(NotFound, UnknownAfterRestore)
    def get(self, handle: str) -> Response:
        """Show an operation

        The handle is the `id` in the `202` answer. With `Prefer: wait=N` the answer waits for the outcome.
        An operation of a signed-in caller is readable by that caller and by admins. It is kept for 30 days.
        An operator's replay of a dead letter may change `failed` to `succeeded`. Nothing else changes an outcome.
        """
        return operation(handle, wanted_wait())


@blueprint.route("/operations/<handle>/cancel")
class OperationCancellation(MethodView):
    """The end of an operation that has no outcome yet."""

    @signed_in
    @blueprint.response(200, OperationSchema)
    @refuses(NotFound, UnknownAfterRestore, OperationFinished)
    def post(self, handle: str) -> Response:
        """Cancel an operation

        It ends as `failed` with `cancelled`, unless a worker has finished it. A worker that has started is not
        interrupted: the first to commit decides. For the caller who sent the command, and for administrators.
        """
        return cancelled(handle)
