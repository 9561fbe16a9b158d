"""`/health`, `/health/live` and `/metrics` of a worker: a small HTTP server in its main process, if HEALTH_PORT is set.

It asks neither broker nor database: `/health` is the worker's own progress. `/health/live` leaves out the connection
to the broker, because a restart does not bring a broker back. Metrics are those of all its processes
together, through the files of PROMETHEUS_MULTIPROC_DIR.
"""

from __future__ import annotations

import json
import os
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic
from typing import Any

import structlog

from backend.addresses import PORTS
from backend.kernel.observe import metrics
from backend.settings import SettingsError

_STUCK_AFTER = 60.0
"""Seconds without a turn of the main loop."""
_HANGS_AFTER = 60.0
"""Seconds in which no process of the pool works although messages wait. A restart while one works would be worse."""
_BIND_EVERY = 1.0

log = structlog.get_logger(__name__)


class Progress:
    """Whether the worker of this process makes progress.

    Args:
        consumer: the worker's.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._turned_at = monotonic()
        self._asked = False

    def ask_for_a_turn(self) -> None:
        """Have the main loop say that it turns."""
        if not self._asked:
            self._asked = True
            self._consumer.call_soon(self._turned)

    def state(self) -> dict[str, str]:
        """Each condition: `ok`, or what is wrong."""
        connection = self._consumer.connection
        connected = connection is not None and connection.connected
        turns = not connected or monotonic() - self._turned_at < _STUCK_AFTER
        return {
            "loop": "ok" if turns else "stuck",
            "broker": "ok" if connected else "away",
            "pool": self._pool(),
        }

    def _turned(self) -> None:
        self._turned_at, self._asked = monotonic(), False

    def _pool(self) -> str:
        if not self._has_a_process():
            return "no process"
        still = self._consumer.standstill
        return "hangs" if still.seconds >= _HANGS_AFTER and still.is_still() else "ok"

    def _has_a_process(self) -> bool:
        children = getattr(getattr(self._consumer.pool, "_pool", None), "_pool", None)
        return children is None or any(_runs(child.pid) for child in children)  # without children it is threads


class _Server(HTTPServer):
    def __init__(self, address: tuple[str, int], progress: Progress) -> None:
        super().__init__(address, _Handler)
        self.progress = progress

    def service_actions(self) -> None:
        """Between two requests."""
        self.progress.ask_for_a_turn()


class _Handler(BaseHTTPRequestHandler):
    timeout = 5  # a client that sends nothing must not keep the others out

    def do_GET(self) -> None:
        """Answer."""
        server = self.server
        if not isinstance(server, _Server):
            raise TypeError
        if self.path == "/metrics":
            body, content_type = metrics.metrics_response()
            self._answer(HTTPStatus.OK, body, content_type)
        elif self.path in ("/health", "/health/live"):
            state = server.progress.state()
            if self.path == "/health/live":
                del state["broker"]
            well = set(state.values()) == {"ok"}
            status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, json.dumps({"status": "ok" if well else "failing", **state}).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Nobody reads a line for each scrape."""

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def health_address() -> tuple[str, int] | None:
    """Where to answer: on HEALTH_HOST, by default to this machine only. None without HEALTH_PORT.

    Raises:
        SettingsError: HEALTH_PORT is no port.
    """
    port = os.environ.get("HEALTH_PORT")
    if not port:
        return None
    if not port.isdecimal() or int(port) not in PORTS:
        raise SettingsError(f"refusing to start: HEALTH_PORT must be {PORTS[0]} to {PORTS[-1]}")
    return os.environ.get("HEALTH_HOST") or "127.0.0.1", int(port)


def serve(consumer: Any) -> None:
    """Begin to answer, if HEALTH_PORT is set."""
    if (address := health_address()) is not None:
        threading.Thread(target=_serve, args=(address, Progress(consumer)), name="health", daemon=True).start()


def _serve(address: tuple[str, int], progress: Progress) -> None:
    complained = False
    while True:
        try:
            server = _Server(address, progress)
        except OSError as error:  # a worker that was killed may have left it to its children for a moment
            if not complained:
                log.warning("health is not answered yet", port=address[1], reason=error.strerror)
            complained = True
            threading.Event().wait(_BIND_EVERY)
        else:
            server.serve_forever(poll_interval=1)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
