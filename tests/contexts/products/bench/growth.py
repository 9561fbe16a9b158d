"""What tables that grow with time cost: the same work with 20,000,000 rows in each of them, and with 10,000."""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from uuid import UUID

import psycopg
import sqlalchemy as sa
import structlog
from uuid_utils.compat import uuid7

from backend.contexts.products.application.commands import AddStock
from backend.contexts.products.application.queries import ListMovements
from backend.contexts.products.infrastructure.queries import list_movements
from backend.contexts.users.application.commands import CreateAdmin
from backend.contexts.users.domain.user import PersonName
from backend.kernel.delivery import inbox, operations
from backend.kernel.delivery.envelope import Depth, Envelope
from backend.kernel.messages.origin import Origin, current_origin
from backend.kernel.messages.secret import Secret
from backend.kernel.observe import audit, timeline
from backend.kernel.postgres.partitions import Partitioning, first_id, make, partitions_of
from backend.kernel.postgres.retention import Retention, purge
from backend.program import CONTEXTS, Process, Program, load_program
from backend.settings import Settings
from bench.measuring import REPEATS, Figure, database_beside

SMALL, LARGE = 10_000, 20_000_000
_EACH = 2000
"""Rows of each actor, and of each product."""
_TIMES = 50
"""Commands and pages per repeat; their median counts."""
_PAGE = 20
_COMMAND = "products.add_stock"
_UUID7 = """
create or replace function uuid7_at(at timestamptz) returns uuid language sql volatile as $$
    select encode(overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) from 1), 'hex')::uuid
$$
"""
_ROWS: dict[str, tuple[int, str]] = {
    "operations": (
        30,
        """
insert into operations (id, name, status, resource, request_id, actor, accepted_at, taken_at, worker, finished_at)
select uuid7_at(case when n %% 2 = 0 then at else 'epoch' end), 'products.add_stock', 'succeeded',
    '/api/v1/products/' || product, md5(n::text), actor, at, at, 'commands@host', at from rows
""",
    ),
    "audit_log": (
        400,
        """
insert into audit_log (id, at, actor, action, about, outcome, ip, request_id)
select uuid7_at(at), at, actor, 'products.add_stock', product, 'succeeded', '203.0.113.7', md5(n::text) from rows
""",
    ),
    "mails": (
        90,
        """
insert into mails (id, template, status, request_id, created_at, sent_at)
select gen_random_uuid(), 'stock_low', 'sent', md5(n::text), at, at from rows
""",
    ),
    "stock_movements": (
        400,
        """
insert into stock_movements (id, product_id, quantity, balance, actor_id, created_at)
select uuid7_at(at), product, 1, 1 + n, actor, at from rows
""",
    ),
}
"""The days that the rows of a table are spread over, and how they are made. Half of the operations were sent under an
Idempotency-Key: their ids have no time.
"""
_SOURCE = """
with rows as (
    select n, now() - interval '1 day' * %(days)s * (1 - n::float / %(rows)s) as at,
        md5('actor' || n %% greatest(%(rows)s / %(each)s, 1))::uuid as actor,
        md5('product' || n %% greatest(%(rows)s / %(each)s, 1))::uuid as product
    from generate_series(1, %(rows)s::bigint) n
)
"""
_PRODUCTS = """
insert into products (id, name, name_key, price, stock, low_stock_threshold, is_active, version)
select md5('product' || n)::uuid, n::text, n::text, 1, 0, 0, true, 1
from generate_series(0, greatest(%s / %s, 1) - 1) n
"""
_PARTITIONED = (inbox.RETENTION, audit.RETENTION)


_ACTOR, _PRODUCT = (UUID(md5(name, usedforsecurity=False).hexdigest()) for name in (b"actor0", b"product0"))
_REQUEST = md5(b"1", usedforsecurity=False).hexdigest()
_PURGED = 500
"""Rows of a purge without partitions: so many at a time can be taken from the small table, too."""


class _Nobody:
    """A `Queue` that takes everything: what RabbitMQ costs does not depend on a table."""

    def send(self, envelope: Envelope, deadline: float) -> None:
        """Take it."""

    def send_all(self, envelopes: Sequence[Envelope], deadline: float) -> set[UUID]:
        """Take them."""
        return {envelope.id for envelope in envelopes}

    def depths(self, lanes: Sequence[str], deadline: float) -> Mapping[str, Depth]:
        """Nothing waits."""
        return {}

    def check(self, deadline: float) -> None:
        """It always answers."""

    def why_away(self) -> str:
        """No connection is needed."""
        return ""

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True)
class _Side:
    """A database with so many rows in each table."""

    process: Process
    actor: UUID

    def command(self) -> float:
        """Milliseconds of one stock command, from its message to the commit."""
        process, operation_id = self.process, uuid7()
        token = current_origin.set(Origin(actor=self.actor, request_id=operation_id.hex))
        try:
            envelope = process.resources.codec.of_command(AddStock(_PRODUCT, None, operation_id, 1), operation_id)
        finally:
            current_origin.reset(token)
        return _milliseconds(lambda: process.receiver.receive(envelope))

    def asked(self, question: Callable[[psycopg.Connection], object]) -> float:
        """Milliseconds of a query."""
        return _milliseconds(lambda: self.process.resources.database.read(question, fresh=True))

    def trace(self) -> float:
        """Milliseconds of the timeline of a request."""
        steps = [context.timeline for context in CONTEXTS if context.timeline is not None]
        with self.process.resources.database.transaction() as connection:
            return _milliseconds(lambda: timeline.trace_of(connection, [_REQUEST], None, steps))


def growth(environment: dict[str, str]) -> str:
    """Milliseconds of commands, pages and purges. `growth=1000000` measures with so many rows."""
    large = int(environment.get("BENCH_GROWTH") or LARGE)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with _side(environment, "small", SMALL) as few, _side(environment, "large", large) as many:
        return "\n".join(
            str(Figure(f"{large:,} rows to {SMALL:,}: {name}", "<= 1.20", "ms", pairs))
            for name, pairs in _measured(many, few)
        )


def _measured(many: _Side, few: _Side) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    work: dict[str, Callable[[_Side], float]] = {
        "a stock command": _Side.command,
        "operations of an actor": lambda side: side.asked(
            lambda connection: operations.listed(connection, [_COMMAND], _PAGE, actor=_ACTOR)
        ),
        "the newest operations": lambda side: side.asked(
            lambda connection: operations.listed(connection, [_COMMAND], _PAGE)
        ),
        "audit entries of an actor": lambda side: side.asked(
            lambda connection: audit.entries(connection, _PAGE, actor=_ACTOR)
        ),
        "the newest audit entries": lambda side: side.asked(lambda connection: audit.entries(connection, _PAGE)),
        "movements of a product": lambda side: side.asked(
            lambda connection: list_movements(ListMovements(_PRODUCT, limit=_PAGE), connection)
        ),
        "timeline of a request": _Side.trace,
    }
    for name, measure in work.items():
        _median(measure, many), _median(measure, few)  # warm up
        yield name, [(_median(measure, many), _median(measure, few)) for _ in range(REPEATS)]
    yield f"purge of {_PURGED} operations, one by one", [(_by_rows(many), _by_rows(few)) for _ in range(REPEATS)]
    yield "purge of a month of the audit log", [(_by_partition(many), _by_partition(few)) for _ in range(REPEATS)]


def _median(measure: Callable[[_Side], float], side: _Side) -> float:
    return statistics.median(measure(side) for _ in range(_TIMES))


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def _by_rows(side: _Side) -> float:
    """Operations without a time in their ids are deleted from the oldest partition."""
    database = side.process.resources.database
    oldest = inbox.operations.to_metadata(sa.MetaData(), name="operations_oldest")
    last = "select finished_at from operations_oldest order by finished_at offset %s limit 1"
    until = database.read(lambda connection: connection.execute(last, [_PURGED]).fetchall()[0][0])
    old = Retention(oldest.c.finished_at, datetime.now(UTC) - until)
    return _milliseconds(lambda: purge(database, [old]))


def _by_partition(side: _Side) -> float:
    database = side.process.resources.database
    partitions = database.read(lambda connection: partitions_of(connection, "audit_log"))
    until = min(one.ends for one in partitions if one.begins is not None and one.ends is not None)
    old = replace(audit.RETENTION, age=datetime.now(UTC) - until)
    return _milliseconds(lambda: purge(database, [old]))


@contextmanager
def _side(environment: dict[str, str], name: str, rows: int) -> Iterator[_Side]:
    with database_beside(environment, name) as there:
        fill(there["DATABASE_URL"], rows)
        settings = replace(
            _configured(there), database_url=there["DATABASE_URL"], database_read_url=there["DATABASE_URL"]
        )
        process = Program(settings).process(_Nobody())
        try:
            actor = uuid7()
            email = f"{actor.hex}@example.com"
            process.bus.execute(CreateAdmin(actor, PersonName("Admin"), email, Secret("correct horse battery")))
            yield _Side(process, actor)
        finally:
            process.close()


def _configured(environment: dict[str, str]) -> Settings:
    os.environ.update(environment)
    return load_program().settings


def fill(url: str, rows: int) -> None:
    """So many rows in each of the tables, spread over the time that they are kept."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")  # no foreign key is checked
        connection.execute("set maintenance_work_mem = '512MB'")
        connection.execute(_UUID7)
        connection.execute(_PRODUCTS, [rows, _EACH])
        for retention in _PARTITIONED:
            _partition(connection, retention)
        for table, (days, insert) in _ROWS.items():
            with _without_indexes(connection, table):
                connection.execute(_SOURCE + insert, {"days": days, "rows": rows, "each": _EACH})
            connection.execute(f"vacuum analyze {table}")


def _partition(connection: psycopg.Connection, retention: Retention) -> None:
    """As the table is partitioned after it has been kept for its whole retention."""
    table, days = retention.table.name, retention.partition_days
    length, now = timedelta(days=days), datetime.now(UTC)
    (oldest,) = (one for one in partitions_of(connection, table) if one.name == f"{table}_oldest")
    assert oldest.ends is not None
    begins = oldest.ends - length * (3 + retention.age // length)
    connection.execute(f"alter table {table} detach partition {oldest.name}")
    connection.execute(
        f"alter table {table} attach partition {oldest.name} for values from (minvalue) to ('{first_id(begins)}')"
    )
    while begins < now + length:
        make(connection, Partitioning(table, days), begins, begins + length)
        begins += length


@contextmanager
def _without_indexes(connection: psycopg.Connection, table: str) -> Iterator[None]:
    """Building them afterwards takes a fraction of the time."""
    found = connection.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisprimary from pg_index"
        " where indrelid = %s::regclass",
        [table],
    ).fetchall()
    for name, _, primary in found:
        connection.execute(f"alter table {table} drop constraint {name}" if primary else f"drop index {name}")
    yield
    for name, definition, primary in found:
        added = f"alter table {table} add constraint {name} primary key (id)"
        connection.execute(added if primary else definition.replace(" ON ONLY ", " ON "))
