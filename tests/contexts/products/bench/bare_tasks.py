"""Bare Celery tasks that move stock, with our worker's options and raw psycopg."""

from __future__ import annotations

import os
from threading import get_ident
from typing import Any
from uuid import UUID

import psycopg
from celery import Celery
from kombu import Exchange, Queue
from psycopg.types.json import Jsonb

from backend.program import load_program
from tasks.lanes import conf_of

app = Celery("bare")
app.config_from_object("celeryconfig")
app.conf.update(conf_of(load_program()))
app.conf.task_routes = None
app.conf.worker_consumer = "celery.worker.consumer:Consumer"
_exchange = Exchange("bare", type="topic", durable=True)
app.conf.task_queues = [
    Queue("bare", _exchange, routing_key="bare", durable=True, queue_arguments={"x-queue-type": "quorum"})
]
app.conf.task_default_queue = app.conf.task_default_routing_key = app.conf.task_default_exchange = "bare"
_connections: dict[tuple[int, int], psycopg.Connection[Any]] = {}


def _database() -> psycopg.Connection[Any]:
    here = os.getpid(), get_ident()  # none survives the fork of the pool's processes
    if here not in _connections:
        _connections[here] = psycopg.connect(os.environ["DATABASE_URL"])
    return _connections[here]


@app.task(bind=True, name="bare.add_stock")  # type: ignore[untyped-decorator]
def add_stock(self: Any, product_id: str, quantity: int) -> None:
    """The SQL of our command: inbox, authority, effect, audit log and outbox in a transaction, the relay in another."""
    connection, message_id = _database(), UUID(self.request.id)
    with connection.transaction():
        connection.execute(
            "insert into operations (id, name, status, accepted_at, finished_at)"
            " values (%s, 'products.add_stock', 'succeeded', now(), clock_timestamp()) on conflict do nothing",
            (message_id,),
        )
        connection.execute("select roles from users where id = %s and is_active", (message_id,)).fetchone()
        stock = _move(connection, message_id, product_id, quantity)
        connection.execute(
            "insert into audit_log (id, action, about, outcome) values (%s, 'products.add_stock', %s, 'succeeded')",
            (message_id, product_id),
        )
        body = Jsonb({"product_id": product_id, "quantity": quantity, "stock": stock})
        connection.execute(
            "insert into outbox (id, aggregate, queue, name, body, headers) values (%s, %s, 'events', 'bare', %s, %s)",
            (message_id, product_id, body, Jsonb({})),
        )
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (product_id,))
        rows = connection.execute("select * from outbox where aggregate = %s order by position", (product_id,))
        connection.execute("delete from outbox where id = any(%s)", ([row[0] for row in rows.fetchall()],))


@app.task(bind=True, name="bare.only_add_stock")  # type: ignore[untyped-decorator]
def only_add_stock(self: Any, product_id: str, quantity: int) -> None:
    """The effect alone: nothing prevents a second delivery from moving the stock twice, or records the outcome."""
    connection = _database()
    with connection.transaction():
        _move(connection, UUID(self.request.id), product_id, quantity)


def _move(connection: psycopg.Connection[Any], movement_id: UUID, product_id: str, quantity: int) -> int:
    """Lock the product, move its stock, write the ledger."""
    connection.execute("select * from products where id = %s for update", (product_id,)).fetchone()
    ((stock,),) = connection.execute(
        "update products set stock = stock + %s, version = version + 1, updated_at = now() where id = %s"
        " returning stock",
        (quantity, product_id),
    ).fetchall()
    connection.execute(
        "insert into stock_movements (id, product_id, quantity, balance) values (%s, %s, %s, %s)",
        (movement_id, product_id, quantity, stock),
    )
    return int(stock)
