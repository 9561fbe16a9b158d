"""A worker leaves a node of RabbitMQ that has fallen silent, as long as another one answers.

Heartbeats notice that, too, after up to 30 seconds. Shorter ones would be mutual: RabbitMQ would give up a worker that
gets no processor time for some seconds, and count a delivery for each message that it had taken.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kombu import Connection

from backend.kernel.delivery.envelope import QueueUnavailable
from tasks.queue import CeleryQueue

_EVERY = 1.0
"""Seconds between two questions. A node has `read_timeout` seconds to answer each."""
_DEADLINE = 10.0
"""Seconds for all nodes together."""


class Watch:
    """Asks the node on a connection of its own, which publishes nothing: a memory alarm does not block it.

    Args:
        app: the `ProgramApp`.
        connection: returns the connection that is cut when its node has fallen silent.
    """

    def __init__(self, app: Any, connection: Callable[[], Connection | None]) -> None:
        self._app = app
        self._connection = connection
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread, once in its life, if there are several nodes."""
        if self._app.nodes.several:
            threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _run(self) -> None:
        queue = CeleryQueue(self._app, threads=1)
        while not self._stopped.wait(_EVERY):
            if (connection := self._connection()) is None:  # it is being made
                continue
            with suppress(QueueUnavailable):  # while no node answers, the present one is as good as any
                queue.check(_DEADLINE)
                if not self._app.nodes.prefers(connection):
                    _cut(connection)
        queue.close()


def _cut(connection: Connection) -> None:
    """End the connection for whoever waits for it: closing it would wait for the node."""
    with suppress(OSError, AttributeError):  # it has ended meanwhile
        socket.socket.shutdown(connection.connection.transport.sock, socket.SHUT_RDWR)  # without TLS's own goodbye
