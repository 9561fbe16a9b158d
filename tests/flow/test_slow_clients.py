"""Clients that send nothing, or a byte now and then: the gateway of docker-compose.yml keeps them away from the API."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.deployment import commands
from tests.flow.client import Client
from tests.flow.programs import ApiProcess
from tests.gateway import gateway
from tests.worker import PATIENCE

_HEAD = b"POST /api/v1/users HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
_UNFINISHED = (
    b"",
    b"GET /health/live HTTP/1.1\r\nHost: api\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: api\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
)
"""Nothing, half a request, one that no other follows, and what a connection of HTTP/2 begins with."""


@pytest.fixture(params=["gateway", "services-gateway"])
def client(request: pytest.FixtureRequest, api_process: ApiProcess, tmp_path: Path) -> Iterator[Client]:
    """Of a gateway of production, in front of an API of this test."""
    with gateway(tmp_path, [api_process.url], service=request.param) as client:
        yield client


def test_the_api_answers_beside_300_silent_and_150_crawling_clients(client: Client, api_process: ApiProcess) -> None:
    """More of them than the API takes requests at once."""
    with ExitStack() as stack:
        for number in range(450):
            attacker = stack.enter_context(socket.create_connection(("127.0.0.1", client.port)))
            if number >= 300:
                attacker.sendall(_HEAD + b"{")
        statuses = {client.get("/api/v1/operations/x").status for _ in range(20)}
        reached = [one for one in _connections(api_process) if one.status == psutil.CONN_ESTABLISHED]

    assert statuses == {404}
    assert len(reached) < 20


def test_a_connection_without_a_whole_request_is_closed_by_the_api_itself(settings: dict[str, str]) -> None:
    """As the image starts it, should somebody get past the gateway. Over HTTP/2 it would be kept for ever."""
    api = ApiProcess(settings)
    api.command = _of_the_image(api.client.port)
    with api, ExitStack() as stack:
        attackers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", api.client.port), timeout=PATIENCE))
            for _ in _UNFINISHED
        ]
        for attacker, sent in zip(attackers, _UNFINISHED, strict=True):
            attacker.sendall(sent)
        for attacker in attackers:
            while attacker.recv(1024):
                pass


def _of_the_image(port: int | None) -> tuple[str, ...]:
    """Its command, at a port of our own."""
    ours = {"0.0.0.0": "127.0.0.1", "8000": str(port)}  # noqa: S104 - it is replaced
    return tuple(ours.get(part, part) for part in next(iter(commands())))


def _connections(api_process: ApiProcess) -> list[Any]:
    assert api_process.process is not None
    main = psutil.Process(api_process.process.pid)
    return [one for process in (main, *main.children(recursive=True)) for one in process.net_connections("tcp")]
