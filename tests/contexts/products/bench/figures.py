"""The figures of products: one read, stock commands, and pages of a million products."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from urllib.request import urlopen

import psycopg

from bench.measuring import (
    BARE,
    OURS,
    REPEATS,
    Figure,
    await_http,
    database_beside,
    granian,
    in_turn,
    process,
    servers,
    worker,
    wrk,
)
from tests.contexts.products.bench.growth import growth
from tests.contexts.products.bench.load import memory, while_many_wait
from tests.contexts.products.bench.peers import peers

_CORES = os.cpu_count() or 1
COMMANDS = 3000
"""Enough that the start of the worker's processes is a small part."""
_BARE = "tests.contexts.products.bench.bare_tasks"
PRODUCTS = 50
"""Enough that commands seldom wait for each other's lock."""
SMALL, LARGE = 10_000, 1_000_000
TIMES = 40
"""Requests per page and repeat; their median counts."""
PAGES = {
    "newest": "",
    "by name": "sort=name",
    "price of 100 to 200": "min_price=100&max_price=200",
    "price of 100 to 200, cheapest first": "min_price=100&max_price=200&sort=price",
    "a narrow price, newest": "min_price=9900&max_price=9950",
    "a narrow price, by name": "min_price=9900&max_price=9950&sort=name",
    "a narrow price, sold out": "min_price=9900&max_price=9950&in_stock=false",
    "sold out (1 in 10)": "in_stock=false",
    "sold out, dearest first": "in_stock=false&sort=-price",
    "a word in 1 of 10": "q=laptop",
    "a word in 1 of 50": "q=w100",
    "a word in 1 of 300": "q=w900",
    "a word in one": "q=4711",
    "a word in none": "q=nothing",
    "two words": "q=laptop+w1",
    "a word, by name": "q=w100&sort=name",
    "a word and a price": "q=laptop&min_price=100&max_price=200",
}
_SEED = """
insert into products
    (id, sku, name, description, price, stock, low_stock_threshold, is_active, created_at, updated_at, version,
     name_key, words)
select *, lower(name), array_to_tsvector(string_to_array(lower(name || ' ' || description), ' ')) from (
select gen_random_uuid(), 'SKU-' || n,
    (array['Laptop','Mouse','Monitor','Dock','Keyboard','Cable','Printer','Tablet','Camera','Speaker'])[1 + n %% 10]
        || ' ' || n as name,
    (select string_agg('w' || floor(1000 * power(random(), 3))::int, ' ') from
        generate_series(1, 8 + n - n)) as description,
    round((10000 * power(random(), 4))::numeric, 2), case when random() < 0.1 then 0 else 1 + n %% 90 end, 5,
    n %% 20 <> 0, timestamptz '2026-01-01' + n * interval '20 seconds', now(), 1
from generate_series(1, %s::int) n) products
"""


def get_product(environment: dict[str, str]) -> Figure:
    """GET one product against a bare Flask handler with raw psycopg, on the same server."""
    (product_id, *_) = _seeded(environment["DATABASE_URL"], PRODUCTS)
    with servers(environment, "tests.contexts.products.bench.bare:app"):
        ours = f"http://127.0.0.1:{OURS}/api/v1/products/{product_id}"
        bare = f"http://127.0.0.1:{BARE}/products/{product_id}"
        return Figure("GET product by id", ">= 0.90", "requests/s", in_turn(lambda: wrk(ours), lambda: wrk(bare)))


def moved(environment: dict[str, str]) -> str:
    """Stock commands per second against bare Celery tasks: with the same SQL, by several settings, and with the SQL of
    the effect alone.
    """
    _seeded(environment["DATABASE_URL"], PRODUCTS)
    rate = partial(_commands_per_second, environment)
    bare: dict[str, tuple[Callable[[], float], str]] = {
        "same SQL": (partial(rate, "add_stock", _BARE), ">= 3.00"),
        "same SQL, prefetch 4": (partial(rate, "add_stock", _BARE, options=("--prefetch-multiplier", "4")), ">= 1.50"),
        "same SQL, threads": (partial(rate, "add_stock", _BARE, 4 * _CORES, ("--pool", "threads")), ">= 1.50"),
        "effect alone": (partial(rate, "only_add_stock", _BARE), "-"),
    }
    rounds = [(rate("ours", "tasks.app"), [measure() for measure, _ in bare.values()]) for _ in range(REPEATS)]
    return "\n".join(
        str(Figure(f"stock commands, {name}", target, "commands/s", [(ours, others[n]) for ours, others in rounds]))
        for n, (name, (_, target)) in enumerate(bare.items())
    )


def million(environment: dict[str, str]) -> str:
    """Milliseconds of a page over HTTP, with 1,000,000 products against 10,000."""
    with database_beside(environment, "small") as small, database_beside(environment, "large") as large:
        _seeded(small["DATABASE_URL"], SMALL)
        _seeded(large["DATABASE_URL"], LARGE)
        with process(large, *granian("wsgi:app", OURS)), process(small, *granian("wsgi:app", BARE)):
            for port in (OURS, BARE):
                await_http(f"http://127.0.0.1:{port}/health/live")
            return "\n".join(str(_page(name, query)) for name, query in PAGES.items())


def _page(name: str, query: str) -> Figure:
    path = f"/api/v1/products?{query}"
    pairs = in_turn(
        lambda: _milliseconds(f"http://127.0.0.1:{OURS}{path}"), lambda: _milliseconds(f"http://127.0.0.1:{BARE}{path}")
    )
    return Figure(f"page of 1,000,000 to 10,000: {name}", "<= 2.00", "ms", pairs)


def _milliseconds(url: str) -> float:
    times = []
    for _ in range(TIMES):
        started = time.perf_counter()
        with urlopen(url, timeout=30) as answer:
            answer.read()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def by_processes(environment: dict[str, str]) -> str:
    """Stock commands per second by two and by four worker processes, against one."""
    _seeded(environment["DATABASE_URL"], PRODUCTS)
    numbers = (1, 2, 4)
    rounds = [
        {number: _commands_per_second(environment, "ours", "tasks.app", number) for number in numbers}
        for _ in range(REPEATS)
    ]
    return "\n".join(
        str(
            Figure(f"stock commands, {more} processes to 1", "-", "commands/s", [(one[more], one[1]) for one in rounds])
        )
        for more in numbers[1:]
    )


def _commands_per_second(
    environment: dict[str, str],
    side: str,
    application: str,
    processes: int = _CORES,
    options: Sequence[str] = ("--pool", "prefork"),
) -> float:
    """From the times in the ledger, without the start and end of the worker."""
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("truncate stock_movements, operations, outbox")
        sender = [sys.executable, "-m", "tests.contexts.products.bench.send", side, str(COMMANDS)]
        subprocess.run(sender, check=True, env=environment, stdout=subprocess.DEVNULL)
        with worker(environment, processes, application, options=options):
            while _moved(connection) < COMMANDS:
                time.sleep(0.2)
        first, last = connection.execute(
            "select min(created_at), max(created_at) from"
            " (select created_at from stock_movements order by created_at offset %s) begun",
            (COMMANDS // 10,),  # by then every process of the pool works
        ).fetchall()[0]
    return COMMANDS * 9 / 10 / float((last - first).total_seconds())


def _moved(connection: psycopg.Connection[tuple[int]]) -> int:
    return int(connection.execute("select count(*) from stock_movements").fetchall()[0][0])


def _seeded(url: str, count: int) -> list[str]:
    """Insert varied products; returns the ids of some active ones."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("truncate products cascade")
        connection.execute(_SEED, (count,))
        connection.execute("vacuum analyze products")
        rows = connection.execute("select id from products where is_active limit 50").fetchall()
    return [str(product_id) for (product_id,) in rows]


FIGURES = {"product": get_product, "stock": moved, "million": million}
ON_REQUEST = {
    "growth": growth,
    "memory": memory,
    "peers": peers,
    "processes": by_processes,
    "waiting": while_many_wait,
}
