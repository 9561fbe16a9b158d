"""LISTEN: what PostgreSQL tells this process, and the requests that wait for an outcome.

Guarantee: none is needed. A notification that is missed costs a waiting client its early answer,
never the outcome: it gets `202`, or the row that is read once more at the end of the wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

import psycopg
import structlog

from backend.kernel.observe import metrics

_HEAL_EVERY = 1.0
APPLICATION_NAME = "listener"
"""What PostgreSQL lists these connections under: as many processes listen."""
_LOOK_EVERY = 5.0
"""Seconds after which a silent connection is tested: a cut cable looks like silence."""
log = structlog.get_logger(__name__)


class Listener:
    """One connection of this process that listens, on a thread of its own; it comes back by itself.

    Args:
        channels: what to do with the payload of each channel; called on the listener's thread.
            What it returns, unless None, is sent to everybody on that channel in reply.
    """

    def __init__(self, database_url: str, channels: Mapping[str, Callable[[str], str | None]]) -> None:
        self._url = database_url
        self._channels = channels
        self._lock = threading.Lock()
        self._pid = 0
        self._connected = threading.Event()
        self._stopped = threading.Event()
        self._on_connect: list[Callable[[], None]] = []

    def when_connected(self, action: Callable[[], None]) -> None:
        """Call `action` after each (re)connection, before it counts as connected: catch up there."""
        self._on_connect.append(action)

    @property
    def connected(self) -> bool:
        """Whether notifications arrive at present. The first question starts the listener."""
        if self._pid != os.getpid():
            self.start()
        return self._connected.is_set()

    def start(self, timeout: float = 0) -> bool:
        """Start the thread in this process, once; wait up to `timeout` seconds until it listens."""
        with self._lock:
            if self._pid != os.getpid():  # a fork takes no threads along
                self._pid = os.getpid()
                self._set_connected(False)
                threading.Thread(target=self._run, name="listener", daemon=True).start()
        return self._connected.wait(timeout)

    def stop(self) -> None:
        """End the thread within its next look at the connection."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except (psycopg.Error, OSError) as error:
                if self._connected.is_set():
                    log.warning("listener lost its connection", reason=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - a callback failed; the thread must outlive it
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
        with psycopg.connect(
            self._url, autocommit=True, connect_timeout=2, tcp_user_timeout=5000, application_name=APPLICATION_NAME
        ) as connection:
            for channel in self._channels:
                connection.execute(f'listen "{channel}"'.encode())
            for action in self._on_connect:
                action()
            self._set_connected(True)
            while not self._stopped.is_set():
                heard = list(connection.notifies(timeout=_LOOK_EVERY, stop_after=1))
                for notice in heard:
                    reply = self._channels[notice.channel](notice.payload)
                    if reply is not None:
                        connection.execute("select pg_notify(%s, %s)", (notice.channel, reply))
                if not heard:
                    connection.execute("select 1")
