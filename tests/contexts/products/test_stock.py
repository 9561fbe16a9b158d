"""The ledger and the stock agree, whatever is delivered, how often, and beside what else.

Removing more than there is: 409 insufficient_stock, nothing changes, under any concurrency.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import AddStock, CreateProduct, RemoveStock
from backend.contexts.products.application.ports import ProductsPorts
from backend.contexts.products.application.queries import GetProduct, ListMovements, MovementView
from backend.contexts.products.context import context as products
from backend.contexts.products.domain.product import StockMovement
from backend.contexts.products.infrastructure.imports import SqlImports
from backend.contexts.products.infrastructure.repository import SqlProducts, SqlStockLedger
from backend.kernel.delivery.dispatch import Bus
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.resources import Resources
from backend.program import Process, Program
from backend.settings import Settings
from tests.contexts.products.conftest import ADMIN
from tests.inline import Postbox
from tests.program import account_of


@pytest.fixture
def queue() -> Postbox:
    return Postbox()


def posted(process: Process, command: Command, operation_id: UUID) -> Envelope:
    by_an_admin = current_origin.set(Origin(actor=ADMIN.user_id))
    process.bus.dispatch(command, operation_id)
    current_origin.reset(by_an_admin)
    assert isinstance(process.queue, Postbox)
    return process.queue.sent[-1]


def offered(process: Process, stock: int) -> UUID:
    product_id = uuid7()
    create = CreateProduct(product_id, stock, "Laptop HP", Decimal(1))
    process.receiver.receive(posted(process, create, product_id))
    return product_id


def whole_ledger(bus: Bus, product_id: UUID) -> list[MovementView]:
    """Oldest first."""
    movements: list[MovementView] = []
    after: tuple[Any, ...] | None = None
    while True:
        page = bus.ask(ListMovements(product_id, limit=100, after=after))
        movements += page.items
        if page.after is None:
            return movements[::-1]
        after = page.after


def agrees(ledger: list[MovementView], stock: int) -> bool:
    balances = [0, *(movement.balance for movement in ledger)]
    sums = [before + movement.quantity for before, movement in zip(balances, ledger, strict=False)]
    return sums == balances[1:] and balances[-1] == stock and min(balances) >= 0


def test_of_200_parallel_removals_each_delivered_twice_exactly_50_of_50_succeed(process: Process) -> None:
    product_id = offered(process, 50)
    removals = [
        posted(process, RemoveStock(product_id, None, operation_id, 1), operation_id)
        for operation_id in (uuid7() for _ in range(200))
    ]
    deliveries = removals * 2  # at least once is what a broker promises
    Random(1).shuffle(deliveries)  # noqa: S311 - the same at each run

    with ThreadPoolExecutor(12) as workers:
        list(workers.map(process.receiver.receive, deliveries))

    outcomes = [process.bus.outcome_of(removal.id) for removal in removals]
    done = {outcome.status for outcome in outcomes if outcome}
    refused = [outcome.problem for outcome in outcomes if outcome and outcome.problem]
    assert done == {"succeeded", "failed"}
    assert len(refused) == 150
    assert {problem["code"] for problem in refused} == {"insufficient_stock"}
    assert process.bus.ask(GetProduct(product_id)).stock == 0
    ledger = whole_ledger(process.bus, product_id)
    assert len(ledger) == 51
    assert agrees(ledger, 0)


class _Fault(Exception):
    """Something broke after the effect, before the commit."""


class _BreakingLedger(SqlStockLedger):
    def add(self, movement: StockMovement) -> None:
        super().add(movement)
        raise _Fault


class Warehouse(RuleBasedStateMachine):
    """Any order of movements, deliveries, repetitions and faults, beside a model that is a number."""

    def __init__(self, process: Process, breaking: Process) -> None:
        super().__init__()
        self.process, self.breaking = process, breaking
        self.waiting: list[tuple[Envelope, int]] = []
        self.carried_out: list[Envelope] = []
        self.model, self.movements = 0, 0

    @initialize(stock=st.integers(0, 20))
    def offer(self, stock: int) -> None:
        self.product_id = offered(self.process, stock)
        self.model, self.movements = stock, int(stock > 0)

    @rule(quantity=st.integers(1, 10), comes=st.booleans())
    def order(self, quantity: int, *, comes: bool) -> None:
        kind, operation_id = (AddStock if comes else RemoveStock), uuid7()
        envelope = posted(self.process, kind(self.product_id, None, operation_id, quantity), operation_id)
        self.waiting.append((envelope, quantity if comes else -quantity))

    @rule(choose=st.randoms(use_true_random=False))
    def deliver(self, choose: Random) -> None:
        if self.waiting:
            envelope, quantity = self.waiting.pop(choose.randrange(len(self.waiting)))
            self.process.receiver.receive(envelope)
            self.carried_out.append(envelope)
            if self.model + quantity >= 0:
                self.model, self.movements = self.model + quantity, self.movements + 1

    @rule(choose=st.randoms(use_true_random=False))
    def deliver_again(self, choose: Random) -> None:
        if self.carried_out:
            self.process.receiver.receive(choose.choice(self.carried_out))

    @rule(choose=st.randoms(use_true_random=False))
    def break_before_the_commit(self, choose: Random) -> None:
        if self.waiting:
            envelope, quantity = choose.choice(self.waiting)
            if self.model + quantity >= 0:
                with pytest.raises(_Fault):
                    self.breaking.receiver.receive(envelope)

    @invariant()
    def agree(self) -> None:
        ledger = whole_ledger(self.process.bus, self.product_id)
        assert self.process.bus.ask(GetProduct(self.product_id)).stock == self.model
        assert len(ledger) == self.movements
        assert agrees(ledger, self.model)


def breaking_ports(_resources: Resources, unit: UnitOfWork) -> ProductsPorts:
    return ProductsPorts(SqlProducts(unit), _BreakingLedger(unit), SqlImports(unit), None, unit.accepted_at)


def test_ledger_stock_and_model_agree_after_any_deliveries(process: Process, settings: Settings) -> None:
    breaking = Program(settings, [replace(products, open_ports=breaking_ports, account_of=account_of)]).process(
        Postbox()
    )

    class OurWarehouse(Warehouse):
        def __init__(self) -> None:
            super().__init__(process, breaking)

    limits = hypothesis_settings(max_examples=20, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(OurWarehouse, settings=limits)
    breaking.close()
