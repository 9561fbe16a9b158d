"""Fills the lane of the stock commands, or of a bare task: `python -m bench.send_stock ours 1000`."""

from __future__ import annotations

import sys
from itertools import cycle, islice

import psycopg
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import AddStock
from backend.program import build_bus
from backend.settings import load_settings


def main() -> None:
    """Send so many, each about the next product."""
    side, count = sys.argv[1], int(sys.argv[2])
    with psycopg.connect(load_settings().database_url) as connection:
        products = [product_id for (product_id,) in connection.execute("select id from products")]
    ids = islice(cycle(products), count)
    if side != "ours":
        from bench import bare_stock  # noqa: PLC0415 - the one is not to see the other's settings

        for product_id in ids:
            bare_stock.app.tasks[f"bare.{side}"].apply_async((str(product_id), 1))
        return
    from tasks.queue import CeleryQueue  # noqa: PLC0415

    queue = CeleryQueue()
    bus = build_bus(load_settings(), queue)
    for product_id in ids:
        operation_id = uuid7()
        bus.dispatch(AddStock(product_id, None, operation_id, 1), operation_id)
    queue.close()
    bus.close()


if __name__ == "__main__":
    main()
