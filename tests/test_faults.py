"""What a developer's own test says about a fault: the cause, at once, and not that an answer was another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, Response
from flask.views import MethodView

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.codec import Undecodable
from backend.kernel.http.commands import Collection, accepts_command, dispatched, operation_id
from backend.kernel.http.guards import public
from backend.kernel.http.openapi import Blueprint
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers, Unhandled
from tests.client import Client
from tests.notes import GetNote


@dataclass(frozen=True)
class Order(Command):
    order_id: UUID
    quantity: int = 1


@dataclass(frozen=True)
class Forgotten(Command):
    """Nobody registered a handler for it."""


handlers, blueprint = Handlers[None]("orders"), Blueprint("orders", __name__)


@handlers.on(Order)
def place_order(command: Order, ports: None) -> None:
    raise ValueError("the price list has no entry")


def _quantity() -> Any:
    return "three"


@blueprint.route("/orders")
class Orders(MethodView):
    @public
    @accepts_command
    def post(self) -> Response:
        return dispatched(Order(operation_id()), creates=Collection("/orders", GetNote))


@blueprint.route("/orders/mistyped")
class Mistyped(MethodView):
    @public
    @accepts_command
    def post(self) -> Response:
        return dispatched(Order(operation_id(), _quantity()))


@blueprint.route("/orders/forgotten")
class ForgottenOrders(MethodView):
    @public
    @accepts_command
    def post(self) -> Response:
        return dispatched(Forgotten())


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    return (Context("orders", handlers, lambda _resources, _unit: None, routes=(blueprint,)),)


@pytest.fixture
def client(app: Flask) -> Client:
    return Client(app)


def test_a_fault_in_a_handler_reaches_the_test_that_waits(client: Client) -> None:
    with pytest.raises(ValueError, match="the price list has no entry"):
        client.post("/orders", Prefer="wait=60")


def test_a_wrong_type_in_a_command_is_told_with_its_field(client: Client) -> None:
    with pytest.raises(Undecodable, match=r"Order: .*quantity"):
        client.post("/orders/mistyped", Prefer="wait=60")


@pytest.mark.parametrize("prefer", ["wait=60", None])
def test_a_command_without_a_handler_is_named(client: Client, prefer: str | None) -> None:
    with pytest.raises(Unhandled, match="Forgotten"):
        client.post("/orders/forgotten", Prefer=prefer)
