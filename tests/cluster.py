"""A RabbitMQ cluster, each node in a network namespace of its own: as hosts that can be cut off. Needs root.

A node has two networks: `10.91.0.n` leads to the other nodes, `10.91.n.2` to the clients, which are in this namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from kombu import Connection

from tests.broker import erlang_environment, sbin
from tests.worker import eventually

_BRIDGE = "rabbits"
_PATIENCE = 180.0
"""Seconds that three nodes may take to start on a busy machine."""
_CONFIGURATION = """
listeners.tcp.1 = {address}:5672
loopback_users = none
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbit@10.91.0.1
"""
"""A node that starts for the first time joins the first one."""


class Node:
    """One node of the cluster, and the host it runs on."""

    def __init__(self, directory: Path, number: int) -> None:
        self.address = f"10.91.{number}.2"
        self.name = f"rabbit@10.91.0.{number}"
        self._namespace = f"rabbit{number}"
        self._directory = directory
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        own = directory / self._namespace
        own.mkdir()
        configuration = own / "rabbitmq.conf"
        configuration.write_text(_CONFIGURATION.format(address=self.address))
        self._environment = {
            **erlang_environment(own, configuration, home=directory),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_USE_LONGNAME": "true",
        }

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.address}:5672/"

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self._process = subprocess.Popen(
            [*self._inside, sbin() / "rabbitmq-server"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def answers(self) -> bool:
        """Whether it lets clients in."""
        try:
            with Connection(self.url, connect_timeout=1) as connection:
                connection.connect()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as when its host loses power."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as before an update."""
        self._end(signal.SIGTERM)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """While inside, it reaches no other node, nor they it. Clients still reach it."""
        self._link("down")
        try:
            yield
        finally:
            self._link("up")

    def remove(self) -> None:
        """End it, and everything else on its host."""
        if self._process is not None:
            self.kill()
        for line in _ip("netns", "pids", self._namespace).split():  # the port mapper stays behind
            with suppress(ProcessLookupError):
                os.kill(int(line), signal.SIGKILL)
        for link in ("nodes", "clients"):
            _ip("link", "delete", f"{link}{self._number}")
        _ip("netns", "delete", self._namespace)

    @property
    def _inside(self) -> tuple[str, ...]:
        return ("nsenter", f"--net=/run/netns/{self._namespace}")

    def make_host(self) -> None:
        """Make the namespace and its two networks."""
        number = self._number
        _ip("netns", "add", self._namespace)
        for link, address in (("nodes", f"10.91.0.{number}/24"), ("clients", f"10.91.{number}.2/24")):
            _ip("link", "add", f"{link}{number}", "type", "veth", "peer", "name", link, "netns", self._namespace)
            _ip("-n", self._namespace, "address", "add", address, "dev", link)
            _ip("-n", self._namespace, "link", "set", link, "up")
            _ip("link", "set", f"{link}{number}", "up")
        _ip("-n", self._namespace, "link", "set", "lo", "up")
        _ip("link", "set", f"nodes{number}", "master", _BRIDGE)
        _ip("address", "add", f"10.91.{number}.1/24", "dev", f"clients{number}")

    def _link(self, state: str) -> None:
        _ip("-n", self._namespace, "link", "set", "nodes", state)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait()


class Cluster:
    """Nodes that form one cluster. Every queue of the program has a member on each: they are quorum queues."""

    def __init__(self, directory: Path, size: int = 3) -> None:
        directory.mkdir(exist_ok=True)
        self._size, self._directory = size, directory
        self.nodes: list[Node] = []

    @property
    def url(self) -> str:
        """All nodes, as BROKER_URL names them."""
        return ";".join(node.url for node in self.nodes)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("link", "set", _BRIDGE, "up")
        for number in range(1, self._size + 1):
            self.nodes.append(Node(self._directory, number))
            self.nodes[-1].make_host()
        for node in self.nodes:  # one after the other: two that join at once may find that the first one is busy
            node.start()
            eventually(node.answers, _PATIENCE)

    def await_whole(self) -> None:
        """Wait until every node lets clients in: one does when it has joined the others again."""
        for node in self.nodes:
            eventually(node.answers, _PATIENCE)

    def busiest(self) -> Node:
        """The node that holds most of the connections of this machine's programs."""
        remote = Counter(one.raddr.ip for one in psutil.net_connections("tcp") if one.raddr and one.raddr.port == 5672)
        return max(self.nodes, key=lambda node: remote[node.address])

    def _stop(self) -> None:
        for node in self.nodes:
            node.remove()
        _ip("link", "delete", _BRIDGE)


def _ip(*arguments: str) -> str:
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin") or "ip"
    return subprocess.run((ip, *arguments), check=True, capture_output=True, text=True).stdout
