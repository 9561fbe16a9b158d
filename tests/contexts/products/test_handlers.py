"""What the products context does, without a database."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import (
    ActivateProduct,
    AddStock,
    CreateProduct,
    DeactivateProduct,
    RemoveStock,
    UpdateProduct,
)
from backend.contexts.products.application.handlers import (
    activate_product,
    add_stock,
    create_product,
    deactivate_product,
    remove_stock,
    update_product,
)
from backend.contexts.products.domain.errors import InsufficientStock, ProductNotFound, SkuTaken, StockTooLarge
from backend.contexts.products.domain.events import (
    ProductActivated,
    ProductCreated,
    ProductDeactivated,
    ProductUpdated,
    StockChanged,
    StockLow,
)
from backend.contexts.products.domain.product import StockMovement
from backend.kernel.messages.event import Event
from backend.kernel.messages.refusals import StaleVersion
from tests.contexts.products.fakes import FakePorts, fake_ports

ADMIN = UUID("01900000-0000-7000-8000-00000000000a")
ID = UUID("01900000-0000-7000-8000-000000000001")


@pytest.fixture
def ports() -> FakePorts:
    return fake_ports(ADMIN)


def offer(ports: FakePorts, stock: int, product_id: UUID = ID, **fields: Any) -> None:
    create_product(CreateProduct(product_id, stock, "Laptop HP", Decimal("899.99"), **fields), ports)


def events(ports: FakePorts, product_id: UUID = ID) -> list[Event]:
    return ports.products.get(product_id).pull_events()


def add(ports: FakePorts, quantity: int, reason: str | None = None) -> UUID:
    movement_id = uuid7()
    add_stock(AddStock(ID, None, movement_id, quantity, reason), ports)
    return movement_id


def remove(ports: FakePorts, quantity: int, reason: str | None = None) -> UUID:
    movement_id = uuid7()
    remove_stock(RemoveStock(ID, None, movement_id, quantity, reason), ports)
    return movement_id


def lows(ports: FakePorts) -> list[int]:
    return [event.stock for event in events(ports) if isinstance(event, StockLow)]


def test_a_first_stock_above_zero_is_the_first_movement(ports: FakePorts) -> None:
    offer(ports, stock=10)

    assert ports.ledger.movements == [StockMovement(ID, ID, 10, 10, None, ADMIN)]
    assert events(ports) == [
        ProductCreated(ID, "Laptop HP", Decimal("899.99"), None),
        StockChanged(ID, ID, 10, 10),
    ]


def test_a_first_stock_of_zero_is_no_movement(ports: FakePorts) -> None:
    offer(ports, stock=0)

    assert ports.ledger.movements == []
    assert events(ports) == [ProductCreated(ID, "Laptop HP", Decimal("899.99"), None)]


def test_the_threshold_is_5_unless_it_is_given(ports: FakePorts) -> None:
    offer(ports, stock=0)
    assert ports.products.get(ID).low_stock_threshold == 5


def test_every_movement_tells_who_why_and_the_balance_after_it(ports: FakePorts) -> None:
    offer(ports, stock=10)
    came, went = add(ports, 5, "delivery"), remove(ports, 3, "order 1042")

    assert ports.ledger.movements[1:] == [
        StockMovement(came, ID, 5, 15, "delivery", ADMIN),
        StockMovement(went, ID, -3, 12, "order 1042", ADMIN),
    ]


def test_removing_more_than_there_is_changes_nothing(ports: FakePorts) -> None:
    offer(ports, stock=2)
    with pytest.raises(InsufficientStock):
        remove(ports, 3)

    assert ports.products.get(ID).stock == 2
    assert len(ports.ledger.movements) == 1


def test_adding_more_than_can_be_counted_changes_nothing(ports: FakePorts) -> None:
    offer(ports, stock=2)
    with pytest.raises(StockTooLarge):
        add(ports, 2**31 - 2)

    assert ports.products.get(ID).stock == 2


def test_going_from_above_the_threshold_to_it_or_below_raises_stock_low_once(ports: FakePorts) -> None:
    offer(ports, stock=7, sku="HP-15")
    remove(ports, 1)
    assert lows(ports) == []

    remove(ports, 1)
    assert events(ports)[-1] == StockLow(ID, "Laptop HP", "HP-15", 5, 5)

    remove(ports, 1)
    assert lows(ports) == []

    add(ports, 10)
    remove(ports, 14)
    assert lows(ports) == [0]


def test_a_first_stock_below_the_threshold_is_no_crossing(ports: FakePorts) -> None:
    offer(ports, stock=3)
    assert lows(ports) == []


def test_changing_the_threshold_raises_nothing(ports: FakePorts) -> None:
    offer(ports, stock=7)
    events(ports)
    update_product(UpdateProduct(ID, None, {"low_stock_threshold": 7}), ports)
    assert events(ports) == [ProductUpdated(ID, ["low_stock_threshold"])]

    remove(ports, 1)
    assert lows(ports) == []


def test_an_update_changes_only_the_fields_present(ports: FakePorts) -> None:
    offer(ports, stock=7, description="15 pulgadas", sku="HP-15")
    update_product(UpdateProduct(ID, None, {"price": Decimal("1.00"), "description": None}), ports)

    product = ports.products.get(ID)
    assert (product.name, product.price, product.description, product.sku) == (
        "Laptop HP",
        Decimal("1.00"),
        None,
        "HP-15",
    )
    assert events(ports)[-1] == ProductUpdated(ID, ["description", "price"])


def test_an_update_to_what_it_is_already_says_nothing(ports: FakePorts) -> None:
    offer(ports, stock=7)
    events(ports)
    update_product(UpdateProduct(ID, None, {"name": "Laptop HP"}), ports)
    assert events(ports) == []


def test_a_sku_belongs_to_one_product(ports: FakePorts) -> None:
    other = uuid7()
    offer(ports, stock=0, sku="HP-15")
    offer(ports, stock=0, product_id=other)
    with pytest.raises(SkuTaken):
        offer(ports, stock=0, product_id=uuid7(), sku="HP-15")
    with pytest.raises(SkuTaken):
        update_product(UpdateProduct(other, None, {"sku": "HP-15"}), ports)


def test_activating_and_deactivating_are_said_when_they_change_something(ports: FakePorts) -> None:
    offer(ports, stock=0)
    events(ports)
    for _ in range(2):
        deactivate_product(DeactivateProduct(ID, None), ports)
    assert not ports.products.get(ID).is_active
    for _ in range(2):
        activate_product(ActivateProduct(ID, None), ports)

    assert ports.products.get(ID).is_active
    assert events(ports) == [ProductDeactivated(ID), ProductActivated(ID)]


def test_an_order_about_another_version_is_refused(ports: FakePorts) -> None:
    offer(ports, stock=5)
    for order, handler in [
        (UpdateProduct(ID, 2, {"name": "Other"}), update_product),
        (AddStock(ID, 2, uuid7(), 1), add_stock),
        (RemoveStock(ID, 2, uuid7(), 1), remove_stock),
        (ActivateProduct(ID, 2), activate_product),
        (DeactivateProduct(ID, 2), deactivate_product),
    ]:
        with pytest.raises(StaleVersion):
            handler(order, ports)  # type: ignore[operator]

    product = ports.products.get(ID)
    assert (product.name, product.stock, product.is_active) == ("Laptop HP", 5, True)


def test_an_order_about_no_product_is_refused(ports: FakePorts) -> None:
    with pytest.raises(ProductNotFound):
        add(ports, 1)
