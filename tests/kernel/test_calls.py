"""Handlers that ask another service: none is asked for what is done or not allowed, nor inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.authority import Account, admin
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.registry import Handlers, Kind
from backend.program import Process

ADA = UUID(int=1)


@dataclass(frozen=True)
class Buy(Command):
    """Buy something in a shop."""


class Shop:
    """Another service, and a context that asks it.

    Attributes:
        asked: for each time it was asked, how many transactions the database had open.
        failures: how often it fails before it answers.
    """

    def __init__(self, database_url: str) -> None:
        self.asked: list[int] = []
        self.failures = 0
        self.roles = frozenset({"admin"})
        self._database_url = database_url
        handlers = Handlers[UnitOfWork]("shopping")

        @handlers.on(Buy, kind=Kind.CALLS, may=admin)
        def buy(command: Buy, unit: UnitOfWork) -> None:
            self._answer()
            unit.open()

        self.context: AnyContext = Context(
            "shopping",
            handlers,
            lambda _resources, unit: unit,
            account_of=lambda _connection, user_id: Account(user_id, self.roles),
        )

    def _answer(self) -> None:
        with psycopg.connect(self._database_url) as connection:
            others = "datname = current_database() and pid <> pg_backend_pid() and xact_start is not null"
            count = connection.execute(f"select count(*) from pg_stat_activity where {others}").fetchone()  # noqa: S608
        self.asked.append(count[0] if count else -1)
        if len(self.asked) <= self.failures:
            raise ConnectionError


@pytest.fixture
def shop(clean_database: str) -> Shop:
    return Shop(clean_database)


@pytest.fixture
def contexts(shop: Shop) -> Sequence[AnyContext]:
    return (shop.context,)


@pytest.fixture
def order(process: Process) -> Envelope:
    token = current_origin.set(Origin(actor=ADA))
    message = process.resources.codec.of_command(Buy(), uuid7())
    current_origin.reset(token)
    return message


def status_of(process: Process, order: Envelope) -> str | None:
    outcome = process.bus.outcome_of(order.id)
    return outcome.status if outcome else None


def test_no_transaction_is_open_while_another_service_is_asked(process: Process, shop: Shop, order: Envelope) -> None:
    process.receiver.receive(order)
    assert (shop.asked, status_of(process, order)) == ([0], "succeeded")


def test_a_message_that_is_done_asks_nobody_again(process: Process, shop: Shop, order: Envelope) -> None:
    for _ in range(2):
        process.receiver.receive(order)
    assert (len(shop.asked), status_of(process, order)) == (1, "succeeded")


def test_a_command_whose_actor_lost_the_role_asks_nobody(process: Process, shop: Shop, order: Envelope) -> None:
    shop.roles = frozenset()
    process.receiver.receive(order)
    assert (shop.asked, status_of(process, order)) == ([], "failed")


def test_a_fault_leaves_the_message_undone_and_a_retry_does_it(process: Process, shop: Shop, order: Envelope) -> None:
    shop.failures = 1
    with pytest.raises(ConnectionError):
        process.receiver.receive(order)
    assert status_of(process, order) is None
    process.receiver.receive(order)
    assert (len(shop.asked), status_of(process, order)) == (2, "succeeded")
