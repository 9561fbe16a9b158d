"""The embedded broker: kombu's filesystem transport with files under `var/`, safe for several processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from queue import Empty
from time import time_ns
from typing import Any
from uuid import uuid4

from kombu.transport import filesystem
from kombu.transport.virtual import BrokerState
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):  # type: ignore[misc]
    """A file becomes visible when it is complete. It is taken by one rename, which only one reader can win.

    kombu writes to a file that is already visible: a reader in between fails on an empty message, which is lost.
    And it moves messages to the system's directory for temporary files. On another file system that is a copy, which
    two readers can make of the same message.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for folder in (self.data_folder_in, self.data_folder_out, self.processed_folder, self.control_folder):
            Path(folder).mkdir(parents=True, exist_ok=True)

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        _write(Path(self.data_folder_out, f"{time_ns()}_{uuid4()}.{queue}.msg"), dumps(payload))

    def _get(self, queue: str) -> Any:
        for name in sorted(os.listdir(self.data_folder_in)):  # noqa: PTH208 - a Path for each name costs more
            if name.partition(".")[2] == f"{queue}.msg":
                taken = Path(self.processed_folder, name)
                with contextlib.suppress(FileNotFoundError):  # another reader took it
                    Path(self.data_folder_in, name).rename(taken)
                    content = taken.read_text()
                    taken.unlink()
                    return loads(content)
        raise Empty

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        table = self._exchange_file(exchange)
        if not table.exists():
            _write(table, "[]")
        super()._queue_bind(exchange, routing_key, pattern, queue)


class Transport(filesystem.Transport):  # type: ignore[misc]
    """What is declared and bound is remembered per directory: kombu's own remembers it for all brokers of a process,
    and would not bind a queue again in another one.
    """

    Channel = Channel

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.state = _states.setdefault(str(client.transport_options.get("data_folder_in")), BrokerState())


_states: dict[str, BrokerState] = {}


def _write(path: Path, content: str) -> None:
    """Create the file completely; one that another process created first stays. Readers skip names with a dot first."""
    partial = path.with_name(f".{uuid4()}")
    partial.write_text(content)
    with contextlib.suppress(FileExistsError):
        os.link(partial, path)
    partial.unlink()
