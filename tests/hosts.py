"""Hosts on this machine: network namespaces with addresses of their own, and links to cut. Needs root and iproute2.

What an earlier run left behind under the same names is removed first, so two runs at once disturb each other.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


class Bridge:
    """A switch that hosts are connected to."""

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self, address: str | None = None) -> None:
        """Make it; with an address, programs outside the hosts reach them through it."""
        self.remove()
        _ip("link", "add", self.name, "type", "bridge")
        if address:
            _ip("address", "add", f"{address}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def remove(self) -> None:
        _try("link", "delete", self.name)


class Host:
    """A host without links, until it is connected.

    Attributes:
        inside: put before a command, it runs on this host.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside = (shutil.which("nsenter", path=_PATH) or "nsenter", f"--net=/run/netns/{name}")
        self._links: list[str] = []

    def make(self) -> None:
        self.remove()
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")

    def connect(self, link: str, address: str, to: Bridge | str) -> None:
        """Add a link with that name and address, to a bridge or to the programs outside, which get the address `to`."""
        far = f"{self.name}-{link}"
        _try("link", "delete", far)
        _ip("link", "add", far, "type", "veth", "peer", "name", link, "netns", self.name)
        self._links.append(far)
        _ip("-n", self.name, "address", "add", f"{address}/24", "dev", link)
        _ip("-n", self.name, "link", "set", link, "up")
        if isinstance(to, Bridge):
            _ip("link", "set", far, "master", to.name)
        else:
            _ip("address", "add", f"{to}/24", "dev", far)
        _ip("link", "set", far, "up")

    @contextmanager
    def cut_off(self, link: str) -> Iterator[None]:
        """While inside, nothing passes over that link, and nobody is told."""
        _ip("link", "set", f"{self.name}-{link}", "down")
        try:
            yield
        finally:
            _ip("link", "set", f"{self.name}-{link}", "up")

    def remove(self) -> None:
        """End what runs there, and the host."""
        for line in _try("netns", "pids", self.name).split():
            with suppress(ProcessLookupError):
                os.kill(int(line), signal.SIGKILL)
        for link in self._links:
            _try("link", "delete", link)
        self._links.clear()
        _try("netns", "delete", self.name)


def _ip(*arguments: str) -> str:
    return _run(*arguments, check=True)


def _try(*arguments: str) -> str:
    """The same for what may not be there."""
    return _run(*arguments, check=False)


def _run(*arguments: str, check: bool) -> str:
    ip = shutil.which("ip", path=_PATH) or "ip"
    return subprocess.run((ip, *arguments), check=check, capture_output=True, text=True).stdout
