"""Operations over HTTP: the status and outcome of a command."""

from __future__ import annotations

from flask import Response
from flask.views import MethodView

from backend.kernel.http.commands import operation
from backend.kernel.http.guards import public
from backend.kernel.http.openapi import Blueprint, OperationSchema

blueprint = Blueprint("operations", __name__, description="The status and outcome of commands")


@blueprint.route("/operations/<handle>")
class OperationItem(MethodView):
    """One operation."""

    @public
    @blueprint.response(200, OperationSchema)
    def get(self, handle: str) -> Response:
        """Show an operation

        The handle is the `id` in the `202` answer. With `Prefer: wait=N` the answer waits for the outcome.
        An operation of a signed-in caller is readable by that caller and by admins.
        An operator's replay of a dead letter may change `failed` to `succeeded`. Nothing else changes an outcome.
        """
        return operation(handle)
