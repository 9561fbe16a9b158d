"""PostgreSQL: an engine for writes, a bare psycopg pool for reads, both opened on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from time import monotonic
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg_pool import ConnectionPool
from sqlalchemy.pool import ConnectionPoolEntry as PoolEntry

from backend.kernel.postgres.faults import DatabaseAway, is_database_away

T = TypeVar("T")
ReadConnection = psycopg.Connection[Any]
_CONNECT = {
    "connect_timeout": 2,
    # A stalled server or a cut cable ends the call, not only a closed socket.
    "tcp_user_timeout": 5000,
    "keepalives_idle": 30,
    "options": "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
    " -c timezone=UTC",
}
_POOL_SIZE = 10
_TRUSTED_SECONDS = 0.5
"""For how long after its last use a connection needs no test."""


class Database:
    """One PostgreSQL, and optionally a replica that answers queries.

    Never connect before a fork: pools do not survive it.
    """

    def __init__(self, url: str, read_url: str | None = None) -> None:
        self.url = url
        self._read_url = read_url or url

    @cached_property
    def engine(self) -> sa.Engine:
        """The engine for writes. An idle connection is tested when it is taken from the pool, so a restart of the
        database costs no failed command.
        """
        url = sa.make_url(self.url).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(
            url,
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_SIZE,
            pool_timeout=5,
            hide_parameters=True,  # statement parameters must not reach an exception's text
            connect_args=_CONNECT,
        )
        sa.event.listen(engine, "checkin", _note_return)
        sa.event.listen(engine, "checkout", _test_if_idle)
        return engine

    @cached_property
    def _reads(self) -> ConnectionPool[ReadConnection]:
        return _pool(self._read_url, _POOL_SIZE)

    @cached_property
    def _primary_reads(self) -> ConnectionPool[ReadConnection]:
        return self._reads if self._read_url == self.url else _pool(self.url, _POOL_SIZE)

    def read(self, ask: Callable[[ReadConnection], T], *, timeout: float = 3, fresh: bool = False) -> T:
        """Run `ask` on an autocommitting connection; once more if the connection is dead.

        Args:
            timeout: seconds to wait for a free connection.
            fresh: ask the primary even if there is a replica, so that the caller sees its own write.

        Raises:
            DatabaseAway: no connection is available.
        """
        pool = self._primary_reads if fresh else self._reads
        for last_try in (False, True):
            try:
                # Not its `connection()`: that commits, which does nothing here and costs nearly as much as the pool.
                connection = pool.getconn(timeout)
                try:
                    return ask(connection)
                finally:
                    pool.putconn(connection)
            except psycopg.Error as error:
                if not is_database_away(error):
                    raise
                if last_try:
                    raise DatabaseAway from None
                pool.check()  # every other idle connection is dead as well
            except Exception as error:
                if is_database_away(error):
                    raise DatabaseAway from None
                raise
        raise AssertionError("unreachable")

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that commits at the end of the block.

        Raises:
            DatabaseAway: no connection is available, or it broke.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except Exception as error:
            if is_database_away(error):
                raise DatabaseAway from None
            raise

    def close(self) -> None:
        """Close every connection."""
        for name in ("_reads", "_primary_reads"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
        if "engine" in self.__dict__:
            self.__dict__.pop("engine").dispose()


def _note_return(_driver: Any, record: PoolEntry) -> None:
    record.info["returned_at"] = monotonic()


def _test_if_idle(driver: Any, record: PoolEntry, _proxy: Any) -> None:
    """As `pool_pre_ping`, without its round trip for a connection that was used a moment ago."""
    if monotonic() - record.info.get("returned_at", 0.0) > _TRUSTED_SECONDS:
        try:
            ConnectionPool.check_connection(driver)
        except psycopg.Error:
            raise sa.exc.InvalidatePoolError from None


def _pool(url: str, size: int) -> ConnectionPool[ReadConnection]:
    return ConnectionPool(
        sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
        min_size=1,
        max_size=size,
        open=True,
        # Give up on a connection early: later attempts back off for minutes, while the next caller starts a new one.
        reconnect_timeout=2,
        kwargs={"autocommit": True, **_CONNECT},
    )
