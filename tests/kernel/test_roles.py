"""Roles beside that of administrators: the guard of a route, and the authority that the worker checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask, Response
from flask.views import MethodView
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.http.caller import Caller
from backend.kernel.http.commands import accepts_command, dispatched
from backend.kernel.http.guards import needs_role
from backend.kernel.http.openapi import Blueprint
from backend.kernel.messages.authority import Account, has_role
from backend.kernel.messages.message import Command, Progress
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


@dataclass(frozen=True)
class HangLater(Command):
    """Hang a picture when its time has come."""


@dataclass(frozen=True)
class Rehang(Command):
    """Hang three pictures anew, one in each step."""


class Gallery:
    """A context with a role of its own, the accounts of the moment, and how many pictures were hung."""

    def __init__(self) -> None:
        self.roles = {CURATOR: {"curator"}, ADMIN: {"admin"}, ADA: {"editor"}}
        self.hung = 0
        handlers, blueprint = Handlers[UnitOfWork]("gallery"), Blueprint("gallery", __name__)

        @handlers.on(Hang, may=has_role("curator"))
        def hang(command: Hang, unit: UnitOfWork) -> None:
            unit.open()  # as whatever uses a repository
            self.hung += 1

        @handlers.on(HangLater, may=has_role("curator"))
        def hang_later(command: HangLater, unit: UnitOfWork) -> None:
            unit.later(Hang(), timedelta(0))

        @handlers.on(Rehang, may=has_role("curator"), alone=True)
        def rehang(command: Rehang, unit: UnitOfWork) -> Progress:
            unit.open()  # as whatever uses a repository
            self.hung += 1
            return Progress(self.hung, 3, 0)

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
            lambda _resources, unit: unit,
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
    assert status(process, operation_id) == outcome


def test_a_role_that_is_lost_between_two_steps_ends_the_command(
    process: Process, gallery: Gallery, queue: InlineQueue
) -> None:
    message = of_the_curator(process, Rehang())
    queue.down = True
    process.receiver.receive(message)
    process.relay.wait()
    gallery.roles[CURATOR] = set()
    queue.down = False
    queue.sweep()
    assert (gallery.hung, status(process, message.id)) == (1, "failed")


def test_a_role_that_is_lost_while_a_message_is_set_aside_is_missed(
    process: Process, gallery: Gallery, queue: InlineQueue
) -> None:
    message = of_the_curator(process, Hang())
    process.receiver.set_aside(message)
    gallery.roles[CURATOR] = set()
    queue.sweep()
    queue.sweep()
    assert (gallery.hung, status(process, message.id)) == (0, "failed")


@pytest.mark.parametrize(("roles", "hung"), [({"curator"}, 1), (set(), 0)])
def test_what_was_put_off_is_done_with_the_role_of_then(
    process: Process, gallery: Gallery, queue: InlineQueue, roles: set[str], hung: int
) -> None:
    process.receiver.receive(of_the_curator(process, HangLater()))
    gallery.roles[CURATOR] = roles
    queue.sweep()
    queue.sweep()
    assert gallery.hung == hung


def of_the_curator(process: Process, command: Command) -> Envelope:
    token = current_origin.set(Origin(actor=CURATOR))
    message = process.resources.codec.of_command(command, uuid7())
    current_origin.reset(token)
    return message


def status(process: Process, operation_id: UUID) -> str | None:
    outcome = process.bus.outcome_of(operation_id)
    return outcome.status if outcome else None


def test_a_route_for_a_role_says_403_in_the_document(app: Flask) -> None:
    responses = Client(app).get("/openapi.json").json["paths"]["/api/v1/pictures"]["post"]["responses"]
    assert {"401", "403"} <= set(responses)
