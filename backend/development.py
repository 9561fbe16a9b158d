"""`make run`: the whole program on one machine, in one foreground.

PostgreSQL (embedded unless `DATABASE_URL` is set) is started and stopped here; the API, the workers, beat and Flower
are the programs of `supervisord.conf`. All of them stop together: on SIGINT, SIGTERM or SIGHUP, or when one of them
cannot be started any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import NoReturn

import kombu
import psutil
import psycopg
from environs import Env, EnvError

from backend.addresses import PORTS, broker_places, database_place
from backend.embedded_postgres import CannotStart, postgres_url, start_postgres
from backend.program import load_program
from backend.reload import Reloader, loading_problem
from backend.settings import DATABASE_URL_FILE, ROOT, VAR, Settings, SettingsError

HOST = "127.0.0.1"

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of this machine without a proxy, whatever the environment sets."""
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOGS = VAR / "log"
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_METRICS = VAR / "metrics"
_PR_SET_PDEATHSIG = 1
_SCRIPTS = Path(sys.executable).parent
_WORKERS = ("commands", "hashing", "codes", "mail", "maintenance")


_MISREAD = set('%":')
"""Characters of a path that mean something else in the configuration of Alembic and supervisord."""


class CannotRun(Exception):
    """Something that the developer has to change first."""


def main() -> int:
    """Run everything until a signal stops it; 0 in that case."""
    for number in _ENDINGS:
        signal.signal(number, _interrupt)
    try:
        _run()
    except KeyboardInterrupt:
        return 0
    except (CannotRun, CannotStart, SettingsError, EnvError) as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        if problem.errno not in _NOT_WRITABLE:
            raise
        print(f"\n{problem.filename or VAR} cannot be written: {problem.strerror}", file=sys.stderr)
        return 1


def _run() -> NoReturn:
    if misread := sorted(_MISREAD & set(str(ROOT))):
        raise CannotRun(f"The path {ROOT} holds a {misread[0]}, which Alembic or supervisord misread: choose another")
    _only_one_here()
    settings = load_program().settings  # makes the development keys once, before several processes race to make them
    if settings.production:
        raise CannotRun("make run is for development. For APP_ENV=production use docker compose, see README.md")
    port, flower_port = _free_port("PORT", 8000), _free_port("FLOWER_PORT", 5555)
    if port == flower_port:
        raise CannotRun("PORT and FLOWER_PORT are the same")
    flower_auth = _flower_auth()
    _require_broker(settings)
    with _database(settings):
        _migrate()
        started = False
        while True:
            with _programs(settings, port, flower_port, flower_auth) as output:
                try:
                    _await_all(output, port)
                    started = True
                    print(_welcome(settings, port, flower_port, flower_auth), flush=True)
                    _reload(output)
                except CannotRun:
                    if not (started and loading_problem()):
                        raise
            print("waiting until the code can be loaded ...", flush=True)
            while loading_problem():
                time.sleep(2)


def _await_all(output: _Output, port: int) -> None:
    while not (_api_is_ready(port) and all(map(_worker_is_well, output.health_ports))):
        output.show()
        time.sleep(0.5)
    output.show()


def _reload(output: _Output) -> NoReturn:
    """Restart the API and the workers with each change."""
    reloader = Reloader(output.pid)
    while True:
        output.show()
        if told := reloader.look():
            print(told, flush=True)
        time.sleep(0.5)


def _only_one_here() -> None:
    """Lock this checkout until the process ends: a second run would take database and logs from the first.

    Raises:
        CannotRun: it is locked.
    """
    VAR.mkdir(exist_ok=True)
    lock = os.open(VAR / "make-run.lock", os.O_CREAT | os.O_WRONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotRun(f"make run is running in {ROOT} already. Stop it first, or use another checkout") from None


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Stop once. A second signal must not interrupt the shutdown: `timeout` and make each forward their own."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Defer signals until afterwards, so that nothing started here is left running."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)


def _free_port(setting: str, default: int) -> int:
    port = Env().int(setting, default)
    if port not in PORTS:
        raise CannotRun(f"{setting} must be {PORTS[0]} to {PORTS[-1]}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CannotRun(
                f"Port {port} on {HOST} cannot be used ({error.strerror}). Stop what listens there,"
                f" or choose another: {setting}={port + 1} make run"
            ) from error
    return port


def _flower_auth() -> str:
    """User and password for Flower, generated once: no web page in the browser may use it."""
    path = VAR / "flower-auth"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"admin:{secrets.token_urlsafe(12)}\n")
    auth = os.environ.get("FLOWER_BASIC_AUTH") or path.read_text().strip()
    if not all(auth.partition(":")):
        raise CannotRun(f"{path} must contain user:password. Delete the file to generate a new one")
    return auth


def _require_broker(settings: Settings) -> None:
    if not settings.on_rabbitmq:
        forget_listeners(VAR / "broker")
        return
    connection = kombu.Connection(settings.broker_url, connect_timeout=5)
    try:
        connection.connect()
    except connection.connection_errors + connection.channel_errors as error:
        raise CannotRun(
            f"BROKER_URL: cannot connect to RabbitMQ at {broker_places(settings.broker_url)} ({_sentence(error)})."
            " Start it, correct the setting, or unset it to use the embedded broker"
        ) from error
    finally:
        connection.release()


def _require_database(url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as error:
        raise CannotRun(
            f"DATABASE_URL: cannot connect to PostgreSQL at {database_place(url)} ({_sentence(error)})."
            " Start it, correct the setting, or unset it to use the embedded one"
        ) from error


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())


def forget_listeners(broker: Path) -> None:
    """Remove the queues of monitors and remote control that an earlier run left in the embedded broker.

    It would continue to write every event for them. Lanes and their messages stay.
    """
    for pattern in ("control/celeryev.exchange", "control/*celery.pidbox.exchange"):
        for table in broker.glob(pattern):
            table.unlink()
    for message in broker.glob("messages/*.msg"):
        queue = message.name.partition(".")[2]
        if queue.startswith("celeryev.") or queue.endswith("celery.pidbox.msg"):
            message.unlink()


def _migrate() -> None:
    print("migrating the database ...", flush=True)
    if subprocess.run((_SCRIPTS / "alembic", "upgrade", "heads"), cwd=ROOT, check=False).returncode:
        raise CannotRun("migrating the database failed, see above")


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[None]:
    """Run the embedded PostgreSQL for the `with` block, unless `DATABASE_URL` is set."""
    DATABASE_URL_FILE.unlink(missing_ok=True)
    if os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE"):
        _require_database(settings.database_url)
        yield
        return
    print("starting the embedded PostgreSQL in var/postgres ...", flush=True)
    server = None
    try:
        with _signals_held():
            server = start_postgres(VAR / "postgres")
        DATABASE_URL_FILE.write_text(postgres_url(server))
        yield
    finally:
        DATABASE_URL_FILE.unlink(missing_ok=True)
        if server is not None:
            server.stop()


class _Output:
    """Shows what supervisord and its programs write to `var/log`, with the name of the program."""

    def __init__(self, supervisord: subprocess.Popen[bytes], health_ports: Sequence[int]) -> None:
        self._supervisord = supervisord
        self.health_ports = health_ports
        self._positions: dict[Path, int] = {}

    @property
    def pid(self) -> int:
        """Supervisord's."""
        return self._supervisord.pid

    def show(self) -> None:
        """Show new lines.

        Raises:
            CannotRun: supervisord has stopped.
        """
        ended = self._supervisord.poll() is not None
        for path in sorted(_LOGS.glob("*.log")):
            self._show(path)
        if ended:
            raise CannotRun("Everything was stopped, see above: a program does not start, or supervisord got a signal")

    def _show(self, path: Path) -> None:
        position = self._positions.get(path, 0)
        with path.open("rb") as log:
            log.seek(position if position <= path.stat().st_size else 0)  # supervisord truncates a long log
            for line in log:
                if line.endswith(b"\n"):
                    position += len(line)
                    with contextlib.suppress(OSError):  # the terminal may be gone
                        print(f"{path.stem:<11} | {line.decode(errors='replace')}", end="", flush=True)
        self._positions[path] = position


@contextlib.contextmanager
def _programs(settings: Settings, port: int, flower_port: int, flower_auth: str) -> Iterator[_Output]:
    """Run the programs of `supervisord.conf` for the `with` block."""
    for directory in (_LOGS, _METRICS):  # the lines and counters of earlier processes
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    for worker in _WORKERS:
        (_METRICS / worker).mkdir()
    health_ports = _spare_ports(len(_WORKERS))
    variables = {
        **{f"{worker.upper()}_HEALTH_PORT": str(one) for worker, one in zip(_WORKERS, health_ports, strict=True)},
        "PATH": os.pathsep.join((str(_SCRIPTS), os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        "PORT": str(port),
        "FLOWER_PORT": str(flower_port),
        "FLOWER_BASIC_AUTH": flower_auth,
        "CORES": str(os.cpu_count() or 1),
        "POOL": "prefork" if settings.on_rabbitmq else "threads",  # prefork hangs without an event loop
    }
    as_root = ("--user", "root") if os.getuid() == 0 else ()  # without it, supervisord warns about running as root
    supervisord = None
    try:
        with _signals_held():
            supervisord = subprocess.Popen(
                (_SCRIPTS / "supervisord", "-c", ROOT / "supervisord.conf", *as_root),
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches only the foreground, which then stops the programs in order
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs yet
            )
        yield _Output(supervisord, health_ports)
    finally:
        if supervisord is not None:
            _end(supervisord)


def _end_with_parent() -> None:
    """Leave no orphan, even if the foreground is killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(supervisord: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        print("\nstopping ...", flush=True)
    supervisord.terminate()
    supervisord.wait()
    for process in psutil.process_iter():  # what a killed program left running
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == supervisord.pid:
                process.kill()


def _api_is_ready(port: int) -> bool:
    try:
        with _DIRECTLY.open(f"http://{HOST}:{port}/health/ready", timeout=5) as response:
            return bool(json.load(response)["status"] == "ok")
    except OSError:
        return False


def _worker_is_well(port: int) -> bool:
    try:
        with _DIRECTLY.open(f"http://{HOST}:{port}/health", timeout=5) as response:
            return bool(response.status == HTTPStatus.OK)
    except OSError:
        return False


def _spare_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(number)]
        return [probe.getsockname()[1] for probe in probes]


def _welcome(settings: Settings, port: int, flower_port: int, flower_auth: str) -> str:
    api = f"http://{HOST}:{port}"
    user, _, password = flower_auth.partition(":")
    past_proxies = "--noproxy 127.0.0.1 " if urllib.request.getproxies() else ""
    body = '{"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}'
    return f"""
{"" if settings.on_rabbitmq else _EMBEDDED_BROKER}
  API     {api}/api/v1
  docs    {api}/docs
  Flower  http://{HOST}:{flower_port}   user {user}, password {password}

  Try it:

    curl -i {past_proxies}{api}/api/v1/users -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\
      -d '{body}'

  Ctrl-C stops all of it.
"""


_EMBEDDED_BROKER = """\
  +----------------------------------------------------------------------------------------------+
  |  EMBEDDED BROKER: FOR DEVELOPMENT ONLY                                                       |
  |  BROKER_URL is not set, so messages are files under var/. This broker confirms nothing, has  |
  |  no dead letters, and loses the message of a worker that is killed (SIGKILL).                |
  |  With RabbitMQ:  BROKER_URL=amqp://guest:guest@127.0.0.1:5672/ make run                      |
  +----------------------------------------------------------------------------------------------+
"""


if __name__ == "__main__":
    sys.exit(main())
