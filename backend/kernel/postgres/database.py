"""PostgreSQL: an engine for writes, a bare psycopg pool for reads, both opened on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
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
from backend.kernel.postgres.faults import DatabaseAway, away, is_busy, is_database_away
from backend.kernel.postgres.replica import Replica, ReplicaState

T = TypeVar("T")
ReadConnection = psycopg.Connection[Any]
_POOL_SIZE = 10
_REPLICA_SECONDS = 0.5
"""Seconds to wait for a connection to the replica; then the primary answers."""
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
        self._replica = Replica(lambda: self._reads(self._read_url), lambda: self._reads(url)) if has_replica else None
        self._pools: dict[str, ConnectionPool[ReadConnection]] = {}
        self._engine: sa.Engine | None = None
        self._opening = threading.Lock()
        self._closed = False

    @property
    def engine(self) -> sa.Engine:
        """The engine for writes. An idle connection is tested when it is taken from the pool, so a restart of the
        database costs no failed command.

        Raises:
            DatabaseAway: it was closed.
        """
        if self._engine is None:
            with self._open():
                self._engine = self._engine or _engine(self.url)  # type: ignore[redundant-expr] # by another thread
        return self._engine

    def _reads(self, url: str) -> ConnectionPool[ReadConnection]:
        if url not in self._pools:
            with self._open():
                if url not in self._pools:
                    self._pools[url] = _pool(url, _POOL_SIZE)
        return self._pools[url]

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Threads open the same pool once, and none after the end: nobody would close it."""
        with self._opening:
            if self._closed:
                raise DatabaseAway
            yield

    @property
    def replica_state(self) -> ReplicaState | None:
        """The state of the replica; None without one."""
        return self._replica.state if self._replica else None

    @property
    def replica_up(self) -> bool | None:
        """Whether the replica answers and keeps up; None without one."""
        return self._replica.state is ReplicaState.UP if self._replica else None

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
                return _ask(self._reads(self._read_url), ask, _REPLICA_SECONDS, tries=1)
            except DatabaseAway:  # or it had to overwrite rows which the query still needed: a conflict
                self._replica.failed()
        return _ask(self._pools.get(self.url) or self._reads(self.url), ask, timeout)

    def why_away(self) -> str:
        """Why no connection to the primary can be made, for an operator: a pool does not tell. Empty if one can."""
        try:
            psycopg.connect(**parameters_of(self.url)).close()
        except psycopg.Error as error:
            return str(away(error))
        return ""

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
                raise DatabaseAway(error) from None
            raise

    def close(self) -> None:
        """Close every connection, for good. Later calls raise DatabaseAway."""
        with self._opening:
            self._closed = True
        if self._replica:
            self._replica.stop()
        for pool in self._pools.values():
            pool.close()
        if self._engine is not None:
            self._engine.dispose()


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
                raise DatabaseAway(error) from None
            pool.drain()  # the other connections are broken as well, or lead to a server that takes no writes
        except Exception as error:
            if is_database_away(error):
                raise DatabaseAway(error) from None
            raise
    raise AssertionError("unreachable")


def clock_ahead(connection: ReadConnection) -> timedelta:
    """How far this machine's clock is ahead of PostgreSQL's, at least; negative while it is behind.

    An answer that takes long makes no difference: what may be due to that does not count.
    """
    before = datetime.now(UTC)
    theirs: datetime = _only_value(connection, "select clock_timestamp()")
    after = datetime.now(UTC)
    return max(before - theirs, min(after - theirs, timedelta()))


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


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(
        "postgresql+psycopg://",
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_SIZE,
        pool_timeout=5,
        hide_parameters=True,  # statement parameters must not reach an exception's text
        connect_args=parameters_of(url),
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
