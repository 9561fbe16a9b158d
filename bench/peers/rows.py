"""What every peer does for a job: one row, in a transaction of its own."""

from __future__ import annotations

import os

from psycopg_pool import AsyncConnectionPool, ConnectionPool

URL = os.environ["DATABASE_URL"]
INSERT = "insert into peer_rows (id, name, price) values (%s, %s, %s)"
_pools: dict[int, ConnectionPool] = {}
_async_pools: dict[int, AsyncConnectionPool] = {}


def insert(row_id: str, name: str, price: str) -> None:
    """Insert the row."""
    pool = _pools.get(os.getpid())  # none survives a fork
    if pool is None:
        pool = _pools[os.getpid()] = ConnectionPool(URL, min_size=1, max_size=8, open=True)
    with pool.connection() as connection:
        connection.execute(INSERT, (row_id, name, price))


async def insert_async(row_id: str, name: str, price: str) -> None:
    """As `insert`."""
    pool = _async_pools.get(os.getpid())
    if pool is None:
        pool = _async_pools[os.getpid()] = AsyncConnectionPool(URL, min_size=1, max_size=8, open=False)
        await pool.open()
    async with pool.connection() as connection:
        await connection.execute(INSERT, (row_id, name, price))
