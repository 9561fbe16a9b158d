"""Batches of product commands end as each command alone would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import (
    ActivateProduct,
    AddStock,
    CreateProduct,
    DeactivateProduct,
    RemoveStock,
    UpdateProduct,
)
from backend.kernel.context import AnyContext, Context
from backend.kernel.delivery.envelope import Envelope, Taking
from backend.kernel.messages.authority import Account
from backend.kernel.messages.message import Command
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.registry import Handlers
from backend.program import CONTEXTS, Process
from tests.inline import InlineQueue

ROOT, NOBODY = UUID(int=101), UUID(int=102)
"""An administrator, and somebody who is none."""
OLD = [UUID(int=number) for number in (1, 2, 3)]
"""They exist."""
NEW = [UUID(int=number) for number in (4, 5, 6)]
"""They may be created."""
VERSIONS = st.sampled_from((None, None, None, 1, 2, 3))
IDS = st.sampled_from((*OLD, *OLD, *NEW))
SKUS = st.sampled_from((None, "A", "B", "C"))
CHANGES = st.fixed_dictionaries({}, optional={"name": st.sampled_from(("Dock", "Mouse")), "sku": SKUS})
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(AddStock, IDS, VERSIONS, st.builds(uuid7), st.integers(1, 9)),
    st.builds(RemoveStock, IDS, VERSIONS, st.builds(uuid7), st.integers(1, 9)),
    st.builds(UpdateProduct, IDS, VERSIONS, CHANGES),
    st.builds(ActivateProduct, IDS, VERSIONS),
    st.builds(DeactivateProduct, IDS, VERSIONS),
    st.builds(CreateProduct, st.sampled_from(NEW), st.integers(0, 3), st.just("New"), st.just("1.50"), st.none(), SKUS),
)
ACTORS = st.sampled_from((ROOT, ROOT, ROOT, NOBODY))


@pytest.fixture
def authenticate() -> None:
    """Nobody calls the API."""


@pytest.fixture
def contexts() -> Sequence[AnyContext]:
    def account_of(_connection: object, user_id: UUID) -> Account:
        return Account(user_id, frozenset({"admin"} if user_id == ROOT else ()))

    accounts = Context("accounts", Handlers[None]("accounts"), lambda _resources, _unit: None, account_of=account_of)
    return accounts, *CONTEXTS


def test_a_batch_of_anything_ends_as_each_command_alone(
    process: Process, queue: InlineQueue, clean_database: str
) -> None:
    batches_done = []

    def together(envelopes: Sequence[Envelope]) -> None:
        done = process.batches.receive(envelopes)
        batches_done.append(bool(done))
        alone([envelope for envelope in envelopes if envelope.id not in done])

    def alone(envelopes: Sequence[Envelope]) -> None:
        for envelope in envelopes:
            process.receiver.receive(envelope)

    def end_of(processed: Callable[[Sequence[Envelope]], None], envelopes: Sequence[Envelope]) -> Any:
        queue.announced.clear()
        with psycopg.connect(clean_database, autocommit=True) as connection:
            _start(connection)
            processed(envelopes)
            process.relay.wait()
            return [connection.execute(question.encode()).fetchall() for question in QUESTIONS], _told(queue)

    @hypothesis_settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(COMMANDS, ACTORS), min_size=2, max_size=16, unique_by=_creation))
    def run(commands: list[tuple[Command, UUID]]) -> None:
        # A batch takes them in the order of what they are about: so they come.
        in_turn = sorted(commands, key=lambda command: vars(command[0])["product_id"])
        envelopes = [_signed(process, command, actor) for command, actor in in_turn]
        assert end_of(together, envelopes) == end_of(alone, envelopes)

    run()
    assert any(batches_done)


QUESTIONS = (
    "select id, sku, name, stock, is_active, version, words::text, name_key from products order by id",
    "select id, product_id, quantity, balance, actor_id from stock_movements order by product_id, position",
    "select id, name, status, problem ->> 'code', actor from operations where cause is null order by id",
    "select action, about, outcome, actor from audit_log order by about, id",
    "select count(*) from outbox",
)


def _creation(command: tuple[Command, UUID]) -> object:
    """Equal for two commands that create the same product, which no caller sends: the API chooses the id."""
    return command[0].product_id if isinstance(command[0], CreateProduct) else object()


def _start(connection: psycopg.Connection[Any]) -> None:
    """The same state each time: three products with a stock of five, two of them with a SKU."""
    connection.execute("truncate products, operations, outbox cascade")
    connection.execute("alter table audit_log disable trigger user")
    connection.execute("delete from audit_log")
    connection.execute("alter table audit_log enable trigger user")
    for product_id, sku in zip(OLD, ("A", "B", None), strict=True):
        connection.execute(
            "insert into products (id, sku, name, price, stock, low_stock_threshold, is_active, version)"
            " values (%s, %s, 'Old', 2, 5, 3, true, 1)",
            [product_id, sku],
        )


def _signed(process: Process, command: Command, actor: UUID) -> Envelope:
    """The message of a command, as a worker takes it."""
    token = current_origin.set(Origin("r1", actor))
    envelope = process.resources.codec.of_command(command, uuid7())
    current_origin.reset(token)
    return replace(envelope, taken=Taking(datetime.now(UTC), "worker"))


def _told(queue: InlineQueue) -> dict[str, list[Any]]:
    """By product: its events in order."""
    told: dict[str, list[Any]] = {}
    for name, event in queue.announced:
        told.setdefault(event["subject"], []).append((name, event["data"]))
    return told
