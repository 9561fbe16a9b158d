"""The replica, which answers queries while it is up and keeps up with the primary.

It guarantees nothing by itself: only anonymous callers, who have written nothing, read from it; see `Database.read`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from time import monotonic
from typing import Any

import psycopg
import structlog
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from backend.kernel.postgres.faults import DatabaseAway

Pool = ConnectionPool[psycopg.Connection[Any]]
_LOOK_EVERY = 0.5
_LONGEST_LAG = 2.0
"""The most seconds that an answering replica may lag."""
_MOST_KEPT = 600
_NOT_NOW = (psycopg.Error, PoolTimeout, PoolClosed, DatabaseAway)

log = structlog.get_logger(__name__)


class ReplicaState(StrEnum):
    """Whether the replica answers queries."""

    UP = "up"
    LAGGING = "lagging"  # too far behind: the primary answers
    DOWN = "down"  # not reached: the primary answers


class Replica:
    """Checks the replica regularly, on a thread of its own that starts with the first query.

    Args:
        pool: connections to the replica.
        primary: connections to the primary, for its log position.
    """

    def __init__(self, pool: Callable[[], Pool], primary: Callable[[], Pool]) -> None:
        self._pool = pool
        self._primary = primary
        self._state = ReplicaState.DOWN
        self._lock = threading.Lock()
        self._pid = 0
        self._looked = threading.Event()
        self._stopped = threading.Event()
        self._written: deque[tuple[float, int]] = deque(maxlen=_MOST_KEPT)
        """Earlier log positions of the primary, with their times, that the replica has not reached yet."""

    @property
    def state(self) -> ReplicaState:
        """The state at the last check; the first query waits for one."""
        if self._pid != os.getpid():
            self._start()
        self._looked.wait(_LOOK_EVERY)
        return self._state

    def failed(self) -> None:
        """A query failed: do not use the replica until the next check."""
        self._become(ReplicaState.DOWN)

    def stop(self) -> None:
        """Stop the thread, at its next check."""
        self._stopped.set()

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():  # a fork does not copy threads
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="replica", daemon=True).start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._become(self._look())
            self._looked.set()
            self._stopped.wait(_LOOK_EVERY)

    def _look(self) -> ReplicaState:
        try:
            with self._primary().connection(timeout=1) as primary:
                self._written.append((monotonic(), _position(primary, "pg_current_wal_insert_lsn()")))
        except _NOT_NOW:
            self._written.clear()  # a primary without writes cannot be lagged behind
        try:
            with self._pool().connection(timeout=1) as replica:
                reached = _position(replica, "case when pg_is_in_recovery() then pg_last_wal_replay_lsn() end")
        except _NOT_NOW:
            return ReplicaState.DOWN
        while self._written and (not reached or self._written[0][1] <= reached):
            self._written.popleft()
        lag = monotonic() - self._written[0][0] if self._written else 0
        return ReplicaState.LAGGING if lag > _LONGEST_LAG else ReplicaState.UP

    def _become(self, state: ReplicaState) -> None:
        if state is not self._state or not self._looked.is_set():
            (log.info if state is ReplicaState.UP else log.warning)("replica", state=state.value)
        self._state = state


def _position(connection: psycopg.Connection[Any], position: str) -> int:
    """A position in the write-ahead log; 0 for a server without one, which replicates in another way."""
    found = connection.execute(f"select coalesce({position} - '0/0', 0)::bigint".encode()).fetchone()
    return int(found[0]) if found else 0
