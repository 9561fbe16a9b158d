"""A RabbitMQ cluster, each node in a network namespace of its own: as hosts that can be cut off. Needs root.

A node has two networks: `10.91.0.n` leads to the other nodes, `10.91.n.2` to the clients, which are in this namespace.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from kombu import Connection

from tests.broker import erlang_environment, sbin
from tests.hosts import Bridge, Host
from tests.worker import eventually

_PATIENCE = 180.0
"""Seconds that three nodes may take to start on a busy machine."""
_REJOINING = 40.0
"""Seconds that a node may take to join the others again."""
_CONFIGURATION = """
listeners.tcp.1 = {address}:5672
loopback_users = none
cluster_partition_handling = pause_minority
net_ticktime = 2
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbit@10.91.0.1
"""
"""A node that starts for the first time joins the first one."""


class Node:
    """One node of the cluster, and the host it runs on."""

    def __init__(self, directory: Path, number: int) -> None:
        self.address = f"10.91.{number}.2"
        self.name = f"rabbit@10.91.0.{number}"
        self._host = Host(f"rabbit{number}")
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        own = directory / self._host.name
        own.mkdir()
        configuration = own / "rabbitmq.conf"
        configuration.write_text(_CONFIGURATION.format(address=self.address))
        (own / "advanced.config").write_text("[{kernel, [{net_setuptime, 1}]}].")
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
            [*self._host.inside, sbin() / "rabbitmq-server"],
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

    def cut_off(self) -> AbstractContextManager[None]:
        """While inside, it reaches no other node, nor they it. Clients still reach it."""
        return self._host.cut_off("nodes")

    def make_host(self, others: Bridge) -> None:
        """Make its host, with its two networks."""
        self._host.make()
        self._host.connect("nodes", f"10.91.0.{self._number}", to=others)
        self._host.connect("clients", self.address, to=f"10.91.{self._number}.1")

    def remove(self) -> None:
        """End it, and everything else on its host."""
        if self._process is not None:
            self.kill()
        self._host.remove()

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
        self._bridge = Bridge("rabbits")
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
        self._bridge.make()
        for number in range(1, self._size + 1):
            self.nodes.append(Node(self._directory, number))
            self.nodes[-1].make_host(self._bridge)
        for node in self.nodes:  # one after the other: two that join at once may find that the first one is busy
            node.start()
            eventually(node.answers, _PATIENCE)

    def await_whole(self) -> None:
        """Wait until every node lets clients in: one does when it has joined the others again.

        One that does not come back from a partition is started again, as an operator has to: RabbitMQ 3.10 may wait
        without end for its tables then.
        """
        for node in self.nodes:
            try:
                eventually(node.answers, _REJOINING)
            except AssertionError:
                node.kill()
                node.start()
                eventually(node.answers, _PATIENCE)

    def busiest(self) -> Node:
        """The node that holds most of the connections of this machine's programs."""
        remote = Counter(one.raddr.ip for one in psutil.net_connections("tcp") if one.raddr and one.raddr.port == 5672)
        return max(self.nodes, key=lambda node: remote[node.address])

    def _stop(self) -> None:
        for node in self.nodes:
            node.remove()
        self._bridge.remove()
