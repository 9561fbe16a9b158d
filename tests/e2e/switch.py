"""A switch with which the tests in the browser give orders to the program behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import cast
from urllib.parse import unquote


class _Switch(ThreadingHTTPServer):
    orders: Mapping[str, Callable[[], object]]


class _Handler(BaseHTTPRequestHandler):
    """`POST /stop%20api` and the like: answered when it is done."""

    def do_POST(self) -> None:
        cast("_Switch", self.server).orders[unquote(self.path[1:])]()
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - so it is named
        """Nothing."""


@contextmanager
def switch_of(orders: Mapping[str, Callable[[], object]]) -> Iterator[str]:
    """Its address, for the `with` block."""
    server = _Switch(("127.0.0.1", 0), _Handler)
    server.orders = orders
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
