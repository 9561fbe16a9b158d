"""The gateway of docker-compose.yml in front of several API processes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

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
