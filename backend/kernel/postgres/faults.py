"""Which failures of PostgreSQL a retry can heal."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as EnginePoolTimeout

from backend.kernel.messages.away import Away

_CONFLICT_STATES = ("40001", "40P01")
"""Serialization failure, deadlock."""
_ABORTED_STATES = ("57014", "25P03", "25P04", *_CONFLICT_STATES)
"""Statement timeout, or cancelled by an operator; idle for too long in a transaction, as a process that was suspended;
transaction timeout (PostgreSQL, appendix A).
"""
_BUSY_STATES = ("55P03", *_ABORTED_STATES)
"""As well as the lock timeout."""
_READ_ONLY_STATE = "25006"
"""After a failover: this server is a standby, or accepts no writes any more."""
_AWAY_STATES = ("08", "53", "57P", "58", _READ_ONLY_STATE, *_BUSY_STATES)
"""Connection exceptions, insufficient resources, shutdowns and start-up, errors of the system around the server."""
_UNMIGRATED_STATES = ("42P01", "42703")
"""Undefined table, undefined column."""
MIGRATIONS_MISSING = "The database is older than this code: run `alembic upgrade heads`."
_UNREACHABLE = "PostgreSQL cannot be reached; see DATABASE_URL"
_REASONS = {
    "55P03": "PostgreSQL is busy: another transaction holds a lock for too long",
    **dict.fromkeys(_ABORTED_STATES, "PostgreSQL is busy: it cancelled what took longer than a timeout"),
    **dict.fromkeys(_CONFLICT_STATES, "PostgreSQL is busy: other transactions changed the same rows"),
    _READ_ONLY_STATE: "PostgreSQL accepts no writes: the server is a standby, or set to read only",
    "53": "PostgreSQL has no connection, memory or disk space left",
}
"""By SQLSTATE, or its beginning. Of any other state, nobody answered."""
_REFUSED = "PostgreSQL refuses the account or the password; see DATABASE_URL"
_REFUSALS = {
    "certificate": (
        "PostgreSQL's certificate is not accepted:"
        " it has expired, is another host's, or sslrootcert does not vouch for it"
    ),
    "authentication failed": _REFUSED,
    "not permitted to log in": _REFUSED,
    "pg_hba.conf": "PostgreSQL's pg_hba.conf does not admit this host, account and database",
    "does not exist": "PostgreSQL has no such database or account; see DATABASE_URL",
    "too many": _REASONS["53"],
    "connection slots": _REASONS["53"],
    "resolve host": "The name of PostgreSQL's host is not found; see DATABASE_URL",
}
"""By a part of the text: a connection that could not be made has no SQLSTATE."""


class DatabaseAway(Away):
    """PostgreSQL cannot do this now: it cannot be reached, accepts no writes, or a lock is held for too long."""

    longest_pause = 10

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__(_reason(error))


class TransactionAborted(DatabaseAway):
    """PostgreSQL answers, and aborted a transaction that took longer than a timeout, or conflicted with others."""


def away(error: BaseException) -> DatabaseAway:
    """What to raise for an error that is about a temporary state of the server."""
    return TransactionAborted(error) if _state(error) in _ABORTED_STATES else DatabaseAway(error)


def is_database_away(error: BaseException) -> bool:
    """Whether `error` is about a temporary state of the server, not about the statement."""
    if isinstance(error, PoolTimeout | PoolClosed | EnginePoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_database_away(error.orig))
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:  # libpq's own: the connection failed
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_AWAY_STATES)


def is_busy(error: BaseException) -> bool:
    """Whether the server answers but was too slow: a retry at once would wait as long."""
    return _state(error).startswith(_BUSY_STATES)


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction lost a conflict with another one: it is retried at once."""
    return _state(error).startswith(_CONFLICT_STATES)


def has_answered(error: BaseException) -> bool:
    """Whether the server goes on and refused this transaction only, so that it can take another one at once."""
    return bool(_state(error)) and not _state(error).startswith(("08", "57P"))


def lacks_migrations(error: BaseException | None) -> bool:
    """Whether the statement needs a table or column that the database does not have."""
    return _state(error) in _UNMIGRATED_STATES


def _reason(error: BaseException | None) -> str:
    """What to tell an operator. It contains no values."""
    if state := _state(error):
        return next((text for beginning, text in _REASONS.items() if state.startswith(beginning)), _UNREACHABLE)
    return next((text for part, text in _REFUSALS.items() if part in str(error)), _UNREACHABLE)


def _state(error: BaseException | None) -> str:
    """The SQLSTATE; empty if there is none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return (original.sqlstate or "") if isinstance(original, psycopg.Error) else ""
