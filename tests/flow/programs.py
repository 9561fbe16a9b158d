"""The API as a process, and its companions."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from backend.settings import ROOT
from tests.flow.client import Client
from tests.worker import Program, eventually


class ApiProcess(Program):
    """The API behind granian, as in production."""

    def __init__(self, environment: Mapping[str, str], *, directory: Path = ROOT, address: str = "127.0.0.1") -> None:
        port = free_port()
        server = ("granian", "--interface", "wsgi", "--host", address, "--port", str(port), "--http", "1", "--no-ws")
        size = ("--workers", "1", "--blocking-threads", "16", "--backpressure", "64", "--log-level", "warning")
        super().__init__("api", *server, *size, "wsgi:app", environment=environment, directory=directory)
        self.url = f"http://{address}:{port}"
        self.client = Client(self.url)

    def ready(self) -> bool:
        """Wait until it answers."""
        eventually(self._is_live)
        return True

    def _is_live(self) -> bool:
        assert self.running, self.logs()
        try:
            return self.client.get("/health/live").status == 200
        except OSError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def beat(environment: Mapping[str, str]) -> Program:
    """The scheduler."""
    return Program("beat", "celery", "-A", "tasks.app", "--quiet", "beat", "--pidfile=", environment=environment)


def administrator(api: Client, environment: Mapping[str, str]) -> dict[str, str]:
    """A new administrator: the headers of their requests."""
    email, password = f"{uuid4().hex}@example.com", uuid4().hex
    arguments = ("--app", "wsgi", "users", "create-admin", "--email", email, "--name", "Admin")
    with Program("flask", "flask", *arguments, environment={**environment, "ADMIN_PASSWORD": password}) as command:
        assert command.ended() == 0, command.logs()
    tokens = api.post("/api/v1/auth/login", {"email": email, "password": password}).body
    return {"Authorization": f"Bearer {tokens['access_token']}"}
