"""PgBouncer between the program and the database of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.worker import eventually

_PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
_CONFIGURATION = """
[databases]
* = host={socket} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_login_retry = 1
query_wait_timeout = 5
"""


@contextmanager
def pooler(database_url: str, mode: str, size: int = 5) -> Iterator[str]:
    """The address of the database through a PgBouncer of our own, as Debian configures it, in that pool mode."""
    if _PGBOUNCER is None:
        pytest.skip("no pgbouncer is installed")
    parameters = conninfo_to_dict(database_url)
    directory = Path(tempfile.mkdtemp(prefix="promise-pgbouncer-"))
    directory.chmod(0o755)  # it runs as another user
    port = _free_port()
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(_CONFIGURATION.format(socket=parameters["host"], port=port, mode=mode, size=size))
    as_postgres = ("-u", Path(str(parameters["host"])).owner()) if os.getuid() == 0 else ()  # it refuses root
    command = (_PGBOUNCER, *as_postgres, str(configuration))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"postgresql://postgres@127.0.0.1:{port}/{quote(str(parameters['dbname']))}"
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
