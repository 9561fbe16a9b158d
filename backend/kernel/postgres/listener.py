"""LISTEN: receives PostgreSQL's notifications.

Guarantee: a channel that must miss nothing catches up at each connection, before it counts as connected. One that
may miss something needs no guarantee. `await_everybody` returns once every listening process has received what was
committed before the call, or after half a second: notifications arrive in the order of the commits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Protocol
from uuid import uuid4

import psycopg
import structlog

from backend.kernel.observe import metrics
from backend.kernel.postgres.connecting import BEHIND_A_POOLER, UnfitDatabase, parameters_of, prepare
from backend.kernel.postgres.database import Database, ReadConnection
from backend.kernel.postgres.faults import DatabaseAway

_HEAL_EVERY = 1.0
_LOOK_EVERY = 5.0
"""Seconds after which a silent connection is tested: a cut cable looks like silence."""
_LONGEST_WAIT = 0.5
"""The most seconds that `await_everybody` waits for a slow process."""
_APPLICATION_NAME = "listener"
"""The application name of these connections in PostgreSQL, which counts the listening processes."""
_ROLL_CALL = "listeners"
"""The channel on which processes confirm that they have received everything before the question."""

log = structlog.get_logger(__name__)


class Channel(Protocol):
    """Handles the notifications of one channel, on the listener's thread."""

    def hear(self, payload: str) -> None:
        """Process one notification."""

    def catch_up(self) -> None:
        """Read what was missed while there was no connection."""


class Listener:
    """The listening connection of this process, on a thread of its own. It reconnects by itself.

    Args:
        channels: the handler of each channel; read at each connection.
        direct: whether the operator vouches for the address: LISTEN works there.
    """

    def __init__(self, database_url: str, channels: Mapping[str, Channel], *, direct: bool = False) -> None:
        self._url = database_url
        self._direct = direct
        self._channels = channels
        self._lock = threading.Lock()
        self._pid = 0
        self._connected = threading.Event()
        self._stopped = threading.Event()
        self._confirmations: dict[str, threading.Semaphore] = {}
        self._complaint = ""

    @property
    def connected(self) -> bool:
        """Whether notifications arrive now. The first call starts the listener."""
        if self._pid != os.getpid():
            self.start()
        return self._connected.is_set()

    def start(self, timeout: float = 0) -> bool:
        """Start the thread in this process, once; wait up to `timeout` seconds until it listens."""
        with self._lock:
            if self._pid != os.getpid():  # a fork does not copy threads
                self._pid = os.getpid()
                self._set_connected(False)
                threading.Thread(target=self._run, name="listener", daemon=True).start()
        return self._connected.wait(timeout)

    def stop(self) -> None:
        """Stop the thread, at its next check of the connection."""
        self._stopped.set()

    def await_everybody(self, database: Database) -> None:
        """Return once every listening process has received what is committed so far, after half a second at most."""
        if not self.start(timeout=_LONGEST_WAIT):  # the confirmations arrive there
            return
        question, confirmed = uuid4().hex, threading.Semaphore(0)
        self._confirmations[question] = confirmed
        until = monotonic() + _LONGEST_WAIT
        try:
            listeners = database.read(lambda primary: _ask_everybody(primary, question), fresh=True)
            if not all(confirmed.acquire(timeout=max(until - monotonic(), 0)) for _ in range(listeners)):
                log.warning("an API process did not confirm a notification", listeners=listeners)
        except DatabaseAway:
            log.warning("API processes could not be asked to confirm a notification")
        finally:
            del self._confirmations[question]

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except UnfitDatabase as unfit:
                if str(unfit) != self._complaint:
                    self._complaint = str(unfit)
                    log.error("the listener cannot work", reason=self._complaint)  # noqa: TRY400 - it says it all
            except (psycopg.Error, OSError) as error:
                if self._connected.is_set():
                    log.warning("listener lost its connection", reason=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - a channel failed; the thread must outlive it
                log.warning("listener failed", reason=type(error).__name__)
            self._set_connected(False)
            self._stopped.wait(_HEAL_EVERY)

    def _set_connected(self, connected: bool) -> None:  # noqa: FBT001 - it is the value
        if connected:
            self._connected.set()
        else:
            self._connected.clear()
        metrics.set_listener_connected(connected)

    def _listen(self) -> None:
        parameters = {**parameters_of(self._url), "autocommit": True, "application_name": _APPLICATION_NAME}
        with psycopg.connect(**parameters) as connection:
            if prepare(connection) and not self._direct:
                raise UnfitDatabase(BEHIND_A_POOLER)
            for channel in (_ROLL_CALL, *self._channels):
                connection.execute(f'listen "{channel}"'.encode())
            for heard in self._channels.values():
                if self._stopped.is_set():
                    return
                heard.catch_up()
            self._set_connected(True)
            while not self._stopped.is_set():
                notices = list(connection.notifies(timeout=_LOOK_EVERY, stop_after=1))
                for notice in notices:
                    if notice.channel == _ROLL_CALL:
                        self._answer(connection, notice.payload)
                    else:
                        self._channels[notice.channel].hear(notice.payload)
                if not notices:
                    connection.execute("select 1")

    def _answer(self, connection: psycopg.Connection[object], payload: str) -> None:
        match payload.split():
            case ["confirm", question]:
                connection.execute("select pg_notify(%s, %s)", (_ROLL_CALL, f"confirmed {question}"))
            case ["confirmed", question] if question in self._confirmations:
                self._confirmations[question].release()


def _ask_everybody(primary: ReadConnection, question: str) -> int:
    """Ask every process to confirm; returns how many will answer."""
    asked = primary.execute(
        "select count(*), pg_notify(%s, %s) from pg_stat_activity"
        " where datname = current_database() and application_name = %s",
        (_ROLL_CALL, f"confirm {question}", _APPLICATION_NAME),
    )
    return int(asked.fetchall()[0][0])
