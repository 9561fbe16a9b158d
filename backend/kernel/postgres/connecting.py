"""Connections to PostgreSQL: for engine, pools, listener and migrations alike, directly or through a pooler.

Poolers refuse startup parameters, so our settings are set after the connection is established.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from backend.addresses import database_parameters

SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}
_KEEPALIVES = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""Seconds, and probes. A host that is cut off in a transaction leaves its locks to a server that waits for the next
statement: by default Linux asks after two hours whether anybody is there. No timeout above applies to that wait.
"""
BEHIND_A_POOLER = (
    "DATABASE_URL leads through a pooler, which may lose notifications and settings between transactions:"
    " set DATABASE_DIRECT_URL to the server itself"
)
_DEFAULTS = {
    "connect_timeout": 2,
    # A stalled server or a cut cable ends the call, not only a closed socket.
    "tcp_user_timeout": 5000,
    "keepalives_idle": 30,
}


class UnfitDatabase(psycopg.OperationalError):
    """The database answers, but the program cannot work with it."""


def parameters_of(url: str) -> dict[str, Any]:
    """The parameters of psycopg; those in the address have priority. All texts are exchanged in UTF-8, whatever the
    address or PGCLIENTENCODING says: another encoding lacks letters.
    """
    return {**_DEFAULTS, **database_parameters(url), "client_encoding": "UTF8"}


def prepare(connection: psycopg.Connection[Any], settings: Mapping[str, str] = SETTINGS) -> bool:
    """Apply our settings to a new connection; those in the `options` of the address stay. Returns whether a pooler is
    in between, which may give each transaction another server: no statement is prepared then.

    Raises:
        UnfitDatabase: its encoding cannot store every text.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise UnfitDatabase(f"the encoding of the database must be UTF8, and is {encoding}")
    given = connection.info.get_parameters().get("options", "")
    ours = {name: value for name, value in {**settings, **_KEEPALIVES}.items() if name not in given}
    assignments = "".join(f", set_config('{name}', '{value}', false)" for name, value in ours.items())
    before, connection.autocommit = connection.autocommit, True
    try:
        found = connection.execute(f"select pg_backend_pid(){assignments}".encode(), prepare=False).fetchone()
    finally:
        connection.autocommit = before
    pooled = found is not None and found[0] != connection.info.backend_pid
    if pooled:
        connection.prepare_threshold = None
    return pooled


def local(settings: Mapping[str, str] = SETTINGS) -> str:
    """The statement that sets them for the transaction, because a pooler may drop them after it."""
    return "select " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())


def is_writable(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server accepts writes, as it last reported (PostgreSQL 14 or newer), without a round trip."""
    reported = (connection.info.parameter_status(name) for name in ("in_hot_standby", "default_transaction_read_only"))
    return "on" not in reported
