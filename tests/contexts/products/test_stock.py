"""The ledger and the stock agree, whatever is delivered, how often, and beside what else.

api.md, Products: "Removing more than there is: 409 insufficient_stock, nothing changes, under any concurrency".
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from backend.kernel.delivery.bus import Bus
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import AddStock, CreateProduct, RemoveStock
from backend.contexts.products.application.handlers import handlers
from backend.contexts.products.application.ports import ProductsPorts
from backend.contexts.products.application.queries import GetProduct, ListMovements, MovementView
from backend.contexts.products.domain.product import StockMovement
from backend.contexts.products.infrastructure.imports import SqlImports
from backend.contexts.products.infrastructure.repository import SqlProducts, SqlStockLedger
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.keys import Keyring
from backend.kernel.messages.message import Command
from backend.settings import Settings
from tests.inline import InlineQueue, as_delivered


class Postbox(InlineQueue):
    """Keeps the commands: the test delivers them."""

    def send(self, envelope: Envelope, deadline: float) -> None:
        self.sent.append(as_delivered(envelope))

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Nobody listens."""
        return {envelope.id for envelope in envelopes}


@pytest.fixture
def queue() -> Postbox:
    return Postbox()


def posted(bus: Bus, command: Command, operation_id: UUID) -> Envelope:
    bus.dispatch(command, operation_id)
    assert isinstance(bus.queue, Postbox)
    return bus.queue.sent[-1]


def offered(bus: Bus, stock: int) -> UUID:
    product_id = uuid7()
    bus.receive(posted(bus, CreateProduct(product_id, "Laptop HP", Decimal(1), stock), product_id))
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


def test_of_200_parallel_removals_each_delivered_twice_exactly_50_of_50_succeed(bus: Bus) -> None:
    product_id = offered(bus, 50)
    removals = [
        posted(bus, RemoveStock(product_id, None, operation_id, 1), operation_id)
        for operation_id in (uuid7() for _ in range(200))
    ]
    deliveries = removals * 2  # at least once is what a broker promises
    Random(1).shuffle(deliveries)  # noqa: S311 - the same at each run

    with ThreadPoolExecutor(12) as workers:
        list(workers.map(bus.receive, deliveries))

    outcomes = [bus.outcome_of(removal.id) for removal in removals]
    done = {outcome.status for outcome in outcomes if outcome}
    refused = [outcome.problem for outcome in outcomes if outcome and outcome.problem]
    assert done == {"succeeded", "failed"}
    assert len(refused) == 150
    assert {problem["code"] for problem in refused} == {"insufficient_stock"}
    assert bus.ask(GetProduct(product_id)).stock == 0
    ledger = whole_ledger(bus, product_id)
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

    def __init__(self, bus: Bus, breaking: Bus) -> None:
        super().__init__()
        self.bus, self.breaking = bus, breaking
        self.waiting: list[tuple[Envelope, int]] = []
        self.carried_out: list[Envelope] = []
        self.model, self.movements = 0, 0

    @initialize(stock=st.integers(0, 20))
    def offer(self, stock: int) -> None:
        self.product_id = offered(self.bus, stock)
        self.model, self.movements = stock, int(stock > 0)

    @rule(quantity=st.integers(1, 10), comes=st.booleans())
    def order(self, quantity: int, *, comes: bool) -> None:
        kind, operation_id = (AddStock if comes else RemoveStock), uuid7()
        envelope = posted(self.bus, kind(self.product_id, None, operation_id, quantity), operation_id)
        self.waiting.append((envelope, quantity if comes else -quantity))

    @rule(choose=st.randoms(use_true_random=False))
    def deliver(self, choose: Random) -> None:
        if self.waiting:
            envelope, quantity = self.waiting.pop(choose.randrange(len(self.waiting)))
            self.bus.receive(envelope)
            self.carried_out.append(envelope)
            if self.model + quantity >= 0:
                self.model, self.movements = self.model + quantity, self.movements + 1

    @rule(choose=st.randoms(use_true_random=False))
    def deliver_again(self, choose: Random) -> None:
        if self.carried_out:
            self.bus.receive(choose.choice(self.carried_out))

    @rule(choose=st.randoms(use_true_random=False))
    def break_before_the_commit(self, choose: Random) -> None:
        if self.waiting:
            envelope, quantity = choose.choice(self.waiting)
            if self.model + quantity >= 0:
                with pytest.raises(_Fault):
                    self.breaking.receive(envelope)

    @invariant()
    def agree(self) -> None:
        ledger = whole_ledger(self.bus, self.product_id)
        assert self.bus.ask(GetProduct(self.product_id)).stock == self.model
        assert len(ledger) == self.movements
        assert agrees(ledger, self.model)


def test_ledger_stock_and_model_agree_after_any_deliveries(bus: Bus, settings: Settings) -> None:
    breaking = Bus(bus.database, bus.queue, Keyring(settings.secret_keys))
    breaking.include(
        handlers, lambda unit: ProductsPorts(SqlProducts(unit), _BreakingLedger(unit), SqlImports(unit), None)
    )

    class OurWarehouse(Warehouse):
        def __init__(self) -> None:
            super().__init__(bus, breaking)

    limits = hypothesis_settings(max_examples=20, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(OurWarehouse, settings=limits)
