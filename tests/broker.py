"""RabbitMQ for the tests: one that is there already, or a node of our own; and one that tests may break.

`RABBITMQ_SERVER` names the `sbin` directory of another version: every node is then our own, of that version.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import psutil
import pytest
from amqp.exceptions import NotFound
from kombu import Connection

from backend.program import Program
from tasks.lanes import DEAD_LETTERS, lanes_of
from tests.hosts import Host
from tests.settings import settings_with
from tests.worker import eventually

_STANDARD = "amqp://guest:guest@127.0.0.1:5672/"
_STANDARD_PORT = 5672
_CHOSEN = "RABBITMQ_SERVER"
_LOCAL = ("127.0.0.1", "localhost", "::1")
_PATIENCE = 120.0
"""Seconds a node may take to start on a busy machine."""
_ADD = 'ok = rabbit_vhost:add(<<"{0}">>, <<"tests">>)'
_PERMIT = (
    'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{0}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)'
)
_DELETE = 'rabbit_vhost:delete(<<"{0}">>, <<"tests">>)'


class RabbitMQ:
    """A RabbitMQ node of this test run, on ports and in a directory of its own.

    Args:
        host: where it runs, with that address; none is this machine.
    """

    def __init__(
        self, directory: Path, *, management: bool = False, host: Host | None = None, address: str = "127.0.0.1"
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.port, self._management_port = _free_port(), _free_port()
        self._directory = directory
        self._address, self._inside = address, host.inside if host else ()
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh: list[str] = []
        self._used: list[str] = []
        configuration = directory / "rabbitmq.conf"
        configuration.write_text(f"listeners.tcp.1 = {address}:{self.port}\nloopback_users = none\n")
        if management:
            with configuration.open("a") as more:
                more.write(f"management.tcp.port = {self._management_port}\ncollect_statistics_interval = 500\n")
        self._environment = {
            **erlang_environment(directory, configuration, home=directory),
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(_free_port()),
        }
        if management:
            (directory / "enabled_plugins").write_text("[rabbitmq_management].")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self._address}:{self.port}/"

    @property
    def management_url(self) -> str:
        """Of its management plugin, if it was asked for."""
        return f"http://guest:guest@127.0.0.1:{self._management_port}"

    @property
    def process(self) -> psutil.Process:
        """Its main process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """Start the node and wait until it lets clients in."""
        self._process = subprocess.Popen(
            [*self._inside, sbin() / "rabbitmq-server"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.await_answer()

    def await_answer(self) -> None:
        """Wait until clients are let in."""

        def is_up() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, "the private RabbitMQ ended by itself"
            return _answers(self.url)

        eventually(is_up)

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node."""
        return _rabbitmqctl(self._environment, "-n", self._environment["RABBITMQ_NODENAME"], *arguments)

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """The address of a new vhost, for this test only."""
        if not self._fresh:
            self._make_vhosts()
        name = self._fresh.pop()
        try:
            yield _in_vhost(self.url, name)
        finally:
            self._used.append(name)

    def _make_vhosts(self) -> None:
        """Some at once, when those that were used are deleted: each rabbitmqctl takes most of a second of a core."""
        self._fresh = [f"tests-{uuid4().hex}" for _ in range(4)]
        made = (change.format(name) for name in self._fresh for change in (_ADD, _PERMIT))
        self.control("eval", ", ".join((*map(_DELETE.format, self._used), *made)) + ".")
        self._used.clear()

    @contextmanager
    def alarmed(self) -> Iterator[None]:
        """While inside, the node has no memory left and blocks every publisher."""
        self.control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", "0.4")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """While inside, the broker is away; durable queues and their messages survive."""
        self.control("stop_app")
        try:
            yield
        finally:
            self.control("start_app")
            self.await_answer()

    def complaints(self) -> list[str]:
        """What its log says of clients that left without a word."""
        logs = [path.read_text() for path in self._directory.glob("log/*.log")]
        return [line for log in logs for line in log.splitlines() if "client unexpectedly closed" in line]

    def stop(self) -> None:
        """End the node."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None


def erlang_environment(directory: Path, configuration: Path, *, home: Path) -> dict[str, str]:
    """What a node is started with.

    Args:
        home: keeps the Erlang cookie, which the nodes of a cluster share.
    """
    plugins = directory / "enabled_plugins"
    plugins.write_text("[].")
    return {
        "PATH": f"{sbin()}:{os.environ['PATH']}",
        "HOME": str(home),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        # Nothing of the machine's own node in /etc/rabbitmq.
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONFIG_FILES": str(directory / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
        # Two cores are shared with the tests.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = [report for report in terminalreporter.stats.get("passed", []) if "rabbitmq" in report.keywords]
    if passed:
        terminalreporter.line(f"{len(passed)} tests of delivery passed on RabbitMQ {_versions()}")


@pytest.fixture(scope="session")
def private_rabbitmq() -> Iterator[RabbitMQ]:
    """A node of our own, for tests that break the broker. Each leaves it as it was."""
    if not is_installed():
        pytest.skip("no rabbitmq-server is installed")
    directory = Path(tempfile.mkdtemp(prefix="promise-rabbitmq-"))
    node = RabbitMQ(directory)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A RabbitMQ with none of our queues: TEST_BROKER_URL, the one on 127.0.0.1:5672, or a node of our own."""
    url = _existing()
    if not url:
        node: RabbitMQ = request.getfixturevalue("private_rabbitmq")
        with node.vhost() as fresh:
            yield fresh
    elif _is_standard(url) and _controls_the_local_node():
        with _vhost(url, _control_local) as fresh:
            yield fresh
    elif "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail("two processes cannot share the RabbitMQ of TEST_BROKER_URL: test in one, with ARGS='-n 0'")
    else:
        forget_queues(url)
        yield url
        forget_queues(url)


@contextmanager
def any_rabbitmq() -> Iterator[str]:
    """As `rabbitmq_url`, outside pytest. A node on another machine is used as it is."""
    url = _existing()
    with ExitStack() as stack:
        if not url:
            directory = Path(tempfile.mkdtemp(prefix="promise-rabbitmq-"))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            node = RabbitMQ(directory)
            stack.callback(node.stop)
            node.start()
            url = stack.enter_context(node.vhost())
        elif _is_standard(url) and _controls_the_local_node():
            url = stack.enter_context(_vhost(url, _control_local))
        yield url


def _existing() -> str | None:
    given = os.environ.get("TEST_BROKER_URL")
    return given or (_STANDARD if _CHOSEN not in os.environ and _answers(_STANDARD) else None)


def _versions() -> str:
    url = _existing()
    found = {"shared": _version_at(url) if url else "none"}
    if is_installed():
        own = _rabbitmqctl({**os.environ, "PATH": f"{sbin()}:{os.environ['PATH']}"}, "version")
        found["private"] = own.strip()
    return ", ".join(f"{version} ({which})" for which, version in found.items())


def _version_at(url: str) -> str:
    with Connection(url) as connection:
        connection.connect()
        return str(connection.connection.server_properties["version"])


def is_installed() -> bool:
    """Whether nodes of our own can be started."""
    return sbin().is_dir()


def lanes() -> list[str]:
    """Every lane of the program."""
    return list(lanes_of(Program(settings_with()).registry))


def queues() -> list[str]:
    """Every queue that the program declares on RabbitMQ."""
    return [*lanes(), DEAD_LETTERS, *(f"celery_delayed_{level}" for level in range(28))]


def waiting(url: str, queue: str) -> list[Any]:
    """The messages that are ready in a queue, none when there is no such queue; they stay there."""
    found = []
    with Connection(url) as connection, connection.channel() as channel, suppress(NotFound):
        while (message := channel.basic_get(queue)) is not None:
            found.append(message)
    return found  # closing the channel put them back


def forget_queues(url: str) -> None:
    """Delete every queue of the program, with what is in it."""
    with Connection(url) as connection, connection.channel() as channel:
        for queue in queues():
            channel.queue_delete(queue)


@contextmanager
def _vhost(url: str, control: Any) -> Iterator[str]:
    name = f"tests-{uuid4().hex}"
    user = urlsplit(url).username or "guest"
    control("add_vhost", name)
    try:
        control("set_permissions", "-p", name, user, ".*", ".*", ".*")
        yield _in_vhost(url, name)
    finally:
        control("delete_vhost", name)


def _in_vhost(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(name, safe="")))


def _control_local(*arguments: str) -> str:
    return _rabbitmqctl(dict(os.environ), *arguments)


def _is_standard(url: str) -> bool:
    """A bare `rabbitmqctl` reaches the node on the standard port, and no second one on this machine."""
    node = urlsplit(url)
    return node.hostname in _LOCAL and node.port in (None, _STANDARD_PORT)


def _controls_the_local_node() -> bool:
    try:
        _control_local("list_vhosts")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _rabbitmqctl(environment: dict[str, str], *arguments: str) -> str:
    command = ("rabbitmqctl", "--quiet", *arguments)
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=_PATIENCE,
    ).stdout


def sbin() -> Path:
    """Where the server's own scripts are: Debian's wrappers insist on the user `rabbitmq`."""
    if chosen := os.environ.get(_CHOSEN):
        return Path(chosen)
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
    installed = shutil.which("rabbitmq-server")
    return found[-1] if found else Path(installed).resolve().parent if installed else Path("/nonexistent")


def _answers(url: str) -> bool:
    connection = Connection(url, connect_timeout=2)
    try:
        connection.connect()
    except (OSError, *connection.connection_errors):
        return False
    finally:
        connection.release()
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
