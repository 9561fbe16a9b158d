"""A context for tests that need one: no example context may be missed. A note is nothing but its operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from backend.kernel.context import Context
from backend.kernel.http.answers import resource_response
from backend.kernel.http.api import bus
from backend.kernel.http.commands import Collection, accepts_command, dispatched, operation_id
from backend.kernel.http.guards import public, signed_in
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.messages.message import Command, Query
from backend.kernel.messages.refusals import NotFound
from backend.kernel.messages.registry import Handlers
from backend.kernel.postgres.database import ReadConnection
from backend.kernel.postgres.queries import Queries

NOTES = "/api/v1/notes"
MILK, BREAD = {"text": "Milk"}, {"text": "Bread"}
NOWHERE = f"/notes/{UUID(int=5)}"
"""The path of a note that nobody wrote, which anybody may ask for."""


class NoteNotFound(NotFound):
    """No such note."""


@dataclass(frozen=True)
class WriteNote(Command):
    """Write one."""

    note_id: UUID
    text: str


@dataclass(frozen=True)
class NoteView:
    """A note."""

    id: UUID
    version: int


@dataclass(frozen=True)
class GetNote(Query[NoteView]):
    """One by id."""

    note_id: UUID


handlers, queries, blueprint = Handlers[None]("notes"), Queries(), Blueprint("notes", __name__)


@handlers.on(WriteNote)
def write_note(command: WriteNote, ports: None) -> None:
    """Do nothing."""


@queries.on(GetNote)
def get_note(query: GetNote, connection: ReadConnection) -> NoteView:
    """One whose command was processed."""
    found = connection.execute("select from operations where id = %s and status = 'succeeded'", (query.note_id,))
    if not found.rowcount:
        raise NoteNotFound
    return NoteView(query.note_id, 1)


class NewNote(ma.Schema):
    """What a note says."""

    text = ma.fields.String(required=True, metadata={"examples": ["Milk"]})


class NoteSchema(ma.Schema):
    """A note."""

    id = ma.fields.UUID(required=True)
    version = ma.fields.Integer(required=True)


@blueprint.route("/notes")
class NoteCollection(MethodView):
    """All notes."""

    @signed_in
    @blueprint.arguments(NewNote)
    @accepts_command
    @blueprint.response(201, NoteSchema)
    def post(self, new_note: dict[str, Any]) -> Response:
        """Write a note"""
        return dispatched(WriteNote(operation_id(), **new_note), creates=Collection("/notes", GetNote))


@blueprint.route("/notes/<uuid:note_id>")
class NoteItem(MethodView):
    """A note."""

    @public
    @refuses(NoteNotFound)
    @blueprint.response(200, NoteSchema)
    def get(self, note_id: UUID) -> Response:
        """Show a note"""
        return resource_response(bus().ask(GetNote(note_id)))


context = Context("notes", handlers, lambda _resources, _unit: None, queries=queries, routes=(blueprint,))
