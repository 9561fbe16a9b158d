"""Roles beside that of administrators: the guard of a route, and the authority that the worker checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest
from flask import Flask, Response
from flask.views import MethodView
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.http.caller import Caller
from backend.kernel.http.commands import accepts_command, dispatched
from backend.kernel.http.guards import needs_role
from backend.kernel.http.openapi import Blueprint
from backend.kernel.messages.authority import Account, has_role
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.registry import Handlers
from backend.program import Process
from tests.client import Client, believing
from tests.inline import InlineQueue

CURATOR, ADMIN, ADA = (UUID(int=number) for number in (1, 2, 3))
CALLERS = {
    "curator": Caller(CURATOR, UUID(int=11), ("curator",)),
    "admin": Caller(ADMIN, UUID(int=12), ("admin",)),
    "admin without two-step": Caller(ADMIN, UUID(int=13), ("admin",), may_administer=False),
    "ada": Caller(ADA, UUID(int=14), ("editor",)),
}


@dataclass(frozen=True)
class Hang(Command):
    """Hang a picture."""


class Gallery:
    """A context with a role of its own, and the accounts of the moment."""

    def __init__(self) -> None:
        self.roles = {CURATOR: {"curator"}, ADMIN: {"admin"}, ADA: {"editor"}}
        handlers, blueprint = Handlers[None]("gallery"), Blueprint("gallery", __name__)

        @handlers.on(Hang, may=has_role("curator"))
        def hang(command: Hang, ports: None) -> None:
            """Do nothing."""

        @blueprint.route("/pictures")
        class Pictures(MethodView):
            """All pictures."""

            @needs_role("curator")
            @accepts_command
            def post(self) -> Response:
                """Hang a picture"""
                return dispatched(Hang())

        self.context: AnyContext = Context(
            "gallery",
            handlers,
            lambda _resources, _unit: None,
            routes=(blueprint,),
            authenticate=lambda _resources: believing(CALLERS),
            authenticate_now=lambda _resources: believing(CALLERS),
            account_of=lambda _connection, user_id: Account(user_id, frozenset(self.roles[user_id])),
        )


@pytest.fixture
def gallery() -> Gallery:
    return Gallery()


@pytest.fixture
def contexts(gallery: Gallery) -> Sequence[AnyContext]:
    return (gallery.context,)


@pytest.mark.parametrize(
    ("who", "status"), [(None, 401), ("ada", 403), ("admin without two-step", 403), ("curator", 204), ("admin", 204)]
)
def test_a_route_for_a_role_takes_it_and_administrators(app: Flask, who: str, status: int) -> None:
    assert Client(app, who).post("/pictures").status_code == status


@pytest.mark.parametrize(
    ("roles", "outcome"), [({"curator"}, "succeeded"), ({"admin"}, "succeeded"), (set(), "failed")]
)
def test_the_worker_asks_for_the_role_of_now(
    process: Process, gallery: Gallery, queue: InlineQueue, roles: set[str], outcome: str
) -> None:
    gallery.roles[CURATOR] = roles
    operation_id = uuid7()
    token = current_origin.set(Origin(actor=CURATOR))
    process.bus.dispatch(Hang(), operation_id)
    current_origin.reset(token)
    queue.drain()
    found = process.bus.outcome_of(operation_id)
    assert found is not None
    assert found.status == outcome


def test_a_route_for_a_role_says_403_in_the_document(app: Flask) -> None:
    responses = Client(app).get("/openapi.json").json["paths"]["/api/v1/pictures"]["post"]["responses"]
    assert {"401", "403"} <= set(responses)
