"""The gateway of docker-compose.yml in front of several API processes."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.flow.programs import ApiProcess
from tests.gateway import gateway
from tests.proxy import Proxy
from tests.worker import eventually


def test_an_api_that_is_gone_costs_no_request(api_process: ApiProcess, tmp_path: Path) -> None:
    """Also before the gateway has found out: the request goes to the other one."""
    port = urlsplit(api_process.url).port or 0
    with (
        Proxy("127.0.0.1", port) as one,
        Proxy("127.0.0.1", port) as other,
        gateway(tmp_path, [f"http://127.0.0.1:{proxy.port}" for proxy in (one, other)]) as client,
    ):
        eventually(lambda: {client.get("/health/live").status for _ in range(4)} == {200})
        other.refuse()
        # A request on a connection that was just cut may have been read: it is answered 502, and never sent again.
        eventually(lambda: {client.get("/health/live").status for _ in range(4)} == {200})
        assert {client.post("/api/v1/users", {}).status for _ in range(8)} == {422}


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X_Forwarded_For", "x_forwarded-FOR", "Forwarded"])
@pytest.mark.parametrize("service", ["gateway", "services-gateway"])
def test_no_client_chooses_the_address_by_which_it_is_throttled(
    settings: dict[str, str], clean_database: str, tmp_path: Path, service: str, name: str
) -> None:
    """The server below Flask takes `_` in a header's name for `-`: the gateway must drop such names."""
    wrong = json.dumps({"email": f"{uuid4().hex}@example.com", "password": "wrong"})
    statuses = []
    with (
        ApiProcess({**settings, "TRUSTED_PROXIES": "1"}) as api,
        gateway(tmp_path, [api.url], service=service) as client,
    ):
        for number in range(6):
            connection = HTTPConnection("127.0.0.1", client.port or 0)
            told = f"for=203.0.113.{number}" if name == "Forwarded" else f"203.0.113.{number}"
            connection.request("POST", "/api/v1/auth/login", wrong, {name: told, "Content-Type": "application/json"})
            statuses.append(connection.getresponse().status)
            connection.close()
    assert statuses == [401] * 5 + [429]
