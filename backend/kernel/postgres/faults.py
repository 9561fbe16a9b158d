"""Which failures of PostgreSQL a retry can heal."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as EnginePoolTimeout

_AWAY_STATES = ("08", "57P01", "57P02", "57P03", "57P05", "53300")
"""Connection exceptions, shutdowns, start-up, idle-session end, too many connections (PostgreSQL, appendix A)."""
_CONFLICT_STATES = ("40001", "40P01")
"""Serialization failure, deadlock."""


class DatabaseAway(Exception):
    """PostgreSQL cannot be reached now. The message is not at fault."""


def is_database_away(error: BaseException) -> bool:
    """Whether `error` means that the connection, not the statement, failed."""
    if isinstance(error, PoolTimeout | PoolClosed | EnginePoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_database_away(error.orig))
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return error.sqlstate is None or error.sqlstate.startswith(_AWAY_STATES)
    return False


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction lost a conflict with another one: it is retried at once."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(original, psycopg.Error) and (original.sqlstate or "").startswith(_CONFLICT_STATES)
