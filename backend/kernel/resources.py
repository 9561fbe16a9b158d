"""What lives as long as a process of the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any, TypeVar, cast

from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.sealing import Sealer
from backend.kernel.keys import Keyring
from backend.kernel.messages.registry import Registry
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.listener import Channel, Listener
from backend.kernel.postgres.queries import Reader
from backend.settings import Settings

T = TypeVar("T")


class Resources:
    """Settings, keys and connections, and what the contexts keep beside them. Nothing connects before its first use.

    Attributes:
        listener: hears what PostgreSQL tells this process; it starts when it is first asked.
    """

    def __init__(self, settings: Settings, registry: Registry, make_reader: Callable[[Database], Reader]) -> None:
        self.settings = settings
        self.registry = registry
        self.keyring = Keyring(settings.secret_keys)
        self.database = Database(settings.database_url, settings.database_read_url)
        self.reader = make_reader(self.database)
        self.channels: dict[str, Channel] = {}
        direct = settings.database_direct_url
        self.listener = Listener(direct or settings.database_url, self.channels, direct=bool(direct))
        self.sealer = Sealer(self.keyring, accept_unsigned=settings.accept_unsigned)
        self.codec = Codec(registry, self.sealer)
        self._made: dict[Callable[[Any], object], object] = {}
        self._making = RLock()

    def once(self, make: Callable[[Resources], T]) -> T:
        """What `make` makes of these resources: made at the first call, the same at every later one."""
        with self._making:
            if make not in self._made:
                self._made[make] = make(self)
            return cast("T", self._made[make])

    def listen(self, channels: Mapping[str, Channel]) -> None:
        """Hear these channels as well, from the listener's next connection on."""
        self.channels.update(channels)

    def hear(self, channel: str, payloads: Sequence[str]) -> None:
        """Note at once what this process has just sent on a channel, then wait until every process knows it."""
        if channel in self.channels:
            for payload in payloads:
                self.channels[channel].hear(payload)
            self.listener.await_everybody(self.database)

    def close(self) -> None:
        """Give the connections back."""
        self.listener.stop()
        self.database.close()
