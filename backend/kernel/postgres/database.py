"""PostgreSQL: an engine for writes, a bare psycopg pool for reads, both opened on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from time import monotonic
from typing import Any, LiteralString, TypeVar

import psycopg
import sqlalchemy as sa
from opentelemetry.trace import SpanKind
from psycopg_pool import ConnectionPool, PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry as PoolEntry

from backend.kernel.messages.origin import current_origin
from backend.kernel.observe import metrics, tracing
from backend.kernel.postgres.connecting import is_writable, local, parameters_of, prepare
from backend.kernel.postgres.faults import DatabaseAway, is_busy, is_database_away, is_read_only
from backend.kernel.postgres.replica import Replica, ReplicaState

T = TypeVar("T")
ReadConnection = psycopg.Connection[Any]
_POOL_SIZE = 10
_REPLICA_SECONDS = 0.5
"""Seconds to wait for a connection to the replica; then the primary answers."""
_REPLICA_CONFLICTS = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
"""The error of a standby that had to overwrite rows which a query still needs."""
_TRUSTED_SECONDS = 0.5
"""For how long after its last use a connection needs no test."""


class Database:
    """One PostgreSQL, and optionally a replica that answers queries of anonymous callers.

    Never connect before a fork: pools do not survive it.
    """

    def __init__(self, url: str, read_url: str | None = None) -> None:
        self.url = url
        self._read_url = read_url or url
        has_replica = self._read_url != url
        self._replica = Replica(lambda: self._replica_reads, lambda: self._reads) if has_replica else None

    @cached_property
    def engine(self) -> sa.Engine:
        """The engine for writes. An idle connection is tested when it is taken from the pool, so a restart of the
        database costs no failed command.
        """
        engine = sa.create_engine(
            "postgresql+psycopg://",
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_SIZE,
            pool_timeout=5,
            hide_parameters=True,  # statement parameters must not reach an exception's text
            connect_args=parameters_of(self.url),
        )
        sa.event.listen(engine, "connect", _prepare_for_writes)
        sa.event.listen(engine, "begin", _set_again)
        if tracing.exports_spans():
            sa.event.listen(engine, "begin", _begin_part)
            sa.event.listen(engine, "commit", _end_part)
            sa.event.listen(engine, "rollback", _end_part)
        sa.event.listen(engine, "checkin", _note_return)
        sa.event.listen(engine, "checkout", _test_if_idle)
        pool: Any = engine.pool
        sa.event.listen(engine, "checkout", lambda *_: metrics.writes_in_use.set(pool.checkedout()))
        # The connection that is being returned is still counted.
        sa.event.listen(engine, "checkin", lambda *_: metrics.writes_in_use.set(pool.checkedout() - 1))
        return engine

    @cached_property
    def _reads(self) -> ConnectionPool[ReadConnection]:
        return _pool(self.url, _POOL_SIZE)

    @cached_property
    def _replica_reads(self) -> ConnectionPool[ReadConnection]:
        return _pool(self._read_url, _POOL_SIZE)

    @property
    def replica_state(self) -> ReplicaState | None:
        """The state of the replica; None without one."""
        return self._replica.state if self._replica else None

    def takes_writes(self, *, timeout: float = 3) -> bool:
        """Ask the primary whether it accepts writes.

        Raises:
            DatabaseAway: it cannot be reached.
        """
        read_only = "select current_setting('transaction_read_only')::boolean"
        return not self.read(lambda primary: _only_value(primary, read_only), timeout=timeout, fresh=True)

    def read(self, ask: Callable[[ReadConnection], T], *, timeout: float = 3, fresh: bool = False) -> T:
        """Run `ask` on an autocommitting connection; once more if the connection is dead.

        Signed-in callers read from the primary, and so see their own writes, whichever process accepted
        them. Anonymous callers read from the replica, if there is one that keeps up.

        Args:
            timeout: seconds to wait for a free connection.
            fresh: always ask the primary.

        Raises:
            DatabaseAway: no connection is available, or the server cannot do it now.
        """
        fresh = fresh or current_origin.get().actor is not None
        if not fresh and self._replica and self._replica.state is ReplicaState.UP:
            try:
                return _ask(self._replica_reads, ask, _REPLICA_SECONDS, tries=1)
            except (DatabaseAway, *_REPLICA_CONFLICTS):
                self._replica.failed()
        return _ask(self._reads, ask, timeout)

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
        if self._replica:
            self._replica.stop()
        for name in ("_reads", "_replica_reads"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
        if "engine" in self.__dict__:
            self.__dict__.pop("engine").dispose()


def _ask(
    pool: ConnectionPool[ReadConnection], ask: Callable[[ReadConnection], T], timeout: float, *, tries: int = 2
) -> T:
    for left in reversed(range(tries)):
        try:
            # Not its `connection()`: that commits, which has no effect here and costs nearly as much as the pool.
            connection = pool.getconn(timeout)
            metrics.reads_in_use.inc()
            try:
                return ask(connection)
            finally:
                pool.putconn(connection)
                metrics.reads_in_use.dec()
        except PoolTimeout:  # there was no connection that could have been dead
            raise DatabaseAway from None
        except psycopg.Error as error:
            if not is_database_away(error):
                raise
            if not left or is_busy(error):
                raise DatabaseAway from None
            if is_read_only(error):
                pool.drain()  # new connections may find the server that accepts writes now
            else:
                pool.check()  # every other idle connection is broken as well
        except Exception as error:
            if is_database_away(error):
                raise DatabaseAway from None
            raise
    raise AssertionError("unreachable")


def _only_value(connection: ReadConnection, question: LiteralString) -> Any:
    found = connection.execute(question).fetchone()
    return found[0] if found else None


def _prepare_for_reads(connection: ReadConnection) -> None:
    prepare(connection)


def _prepare_for_writes(driver: ReadConnection, record: PoolEntry) -> None:
    record.info["pooled"] = prepare(driver)
    if not is_writable(driver):
        raise psycopg.errors.ReadOnlySqlTransaction("the server accepts no writes now")


def _set_again(connection: sa.Connection) -> None:
    if connection.info.get("pooled"):
        connection.exec_driver_sql(local())


def _begin_part(connection: sa.Connection) -> None:
    traced = ExitStack()
    traced.enter_context(tracing.part("transaction", SpanKind.CLIENT, db_system_name="postgresql"))
    connection.info["traced"] = traced


def _end_part(connection: sa.Connection) -> None:
    connection.info.pop("traced").close()


def _note_return(driver: ReadConnection | None, record: PoolEntry) -> None:
    record.info["returned_at"] = monotonic()
    if driver is not None and not is_writable(driver):
        record.invalidate()  # a new connection may find the server that is


def _test_if_idle(driver: Any, record: PoolEntry, _proxy: Any) -> None:
    """As `pool_pre_ping`, without its round trip for a connection that was used a moment ago."""
    if monotonic() - record.info.get("returned_at", 0.0) > _TRUSTED_SECONDS:
        try:
            ConnectionPool.check_connection(driver)
        except psycopg.Error:
            raise sa.exc.InvalidatePoolError from None


def _pool(url: str, size: int) -> ConnectionPool[ReadConnection]:
    return ConnectionPool(
        min_size=1,
        max_size=size,
        open=True,
        # Give up on a connection early: later attempts back off for minutes, while the next caller starts a new one.
        reconnect_timeout=2,
        kwargs={**parameters_of(url), "autocommit": True},
        configure=_prepare_for_reads,
    )
