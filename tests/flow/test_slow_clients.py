"""Clients that send nothing, or a byte now and then: the gateway of docker-compose.yml keeps them away from the API."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flow.client import Client
from tests.flow.programs import ApiProcess
from tests.gateway import gateway

_HEAD = b"POST /api/v1/users HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"


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


def _connections(api_process: ApiProcess) -> list[Any]:
    assert api_process.process is not None
    main = psutil.Process(api_process.process.pid)
    return [one for process in (main, *main.children(recursive=True)) for one in process.net_connections("tcp")]
