"""Fills the lane of the stock commands, or of a bare task: `python -m tests.contexts.products.bench.send ours 1000`."""

from __future__ import annotations

import sys
from itertools import cycle, islice
from uuid import UUID

import psycopg
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import AddStock
from backend.contexts.users.application.commands import CreateAdmin
from backend.contexts.users.domain.user import PersonName
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.secret import Secret
from backend.program import Process, load_program
from tasks.app import make_app
from tasks.queue import CeleryQueue


def main() -> None:
    """Send this many messages, each for the next product."""
    side, count = sys.argv[1], int(sys.argv[2])
    program = load_program()
    with psycopg.connect(program.settings.database_url) as connection:
        products = [product_id for (product_id,) in connection.execute("select id from products")]
    ids = islice(cycle(products), count)
    if side != "ours":
        from tests.contexts.products.bench import bare_tasks  # noqa: PLC0415 - its application becomes Celery's current one

        for product_id in ids:
            bare_tasks.app.tasks[f"bare.{side}"].apply_async((str(product_id), 1))
        return
    queue = CeleryQueue(make_app(program))
    process = program.process(queue)
    current_origin.set(Origin(actor=_administrator(process)))
    for product_id in ids:
        operation_id = uuid7()
        process.bus.dispatch(AddStock(product_id, None, operation_id, 1), operation_id)
    process.close()
    queue.close()


def _administrator(process: Process) -> UUID:
    """A new one: the worker asks whether the actor may move stock."""
    admin, email = uuid7(), f"{uuid7().hex}@example.com"
    process.bus.execute(CreateAdmin(admin, PersonName("Admin"), email, Secret("correct horse battery")))
    return admin


if __name__ == "__main__":
    main()
