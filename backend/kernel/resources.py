"""The resources of a process, which live as long as it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from threading import RLock
from typing import Any, TypeVar, cast

from backend.kernel.delivery.codec import Codec
from backend.kernel.delivery.sealing import Sealer
from backend.kernel.keys import Keyring
from backend.kernel.limits import Limits
from backend.kernel.messages.attempts import Attempts
from backend.kernel.messages.registry import Registry
from backend.kernel.postgres.counters import Counters
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.listener import Channel, Listener
from backend.kernel.postgres.queries import Reader
from backend.settings import Settings

T = TypeVar("T")


class Resources:
    """Settings, keys, connections, and objects of the contexts. Nothing connects before its first use.

    Attributes:
        listener: receives PostgreSQL's notifications; it starts on first use.
        counters: the counters of limits.

    Args:
        make_attempts: creates the limit on guessing passwords, if a context offers it.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        make_reader: Callable[[Resources], Reader],
        make_attempts: Callable[[Resources], Attempts] | None = None,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.keyring = Keyring(settings.secret_keys)
        self.database = Database(settings.database_url, settings.database_read_url)
        self._make_reader = make_reader
        self.counters = Counters(self.database, self.keyring)
        self.limits = Limits(self.counters)
        self.channels: dict[str, Channel] = {}
        direct = settings.database_direct_url
        self.listener = Listener(direct or settings.database_url, self.channels, direct=bool(direct))
        self.sealer = Sealer(self.keyring, accept_unsigned=settings.accept_unsigned)
        self.codec = Codec(registry, self.sealer)
        self._make_attempts = make_attempts
        self._made: dict[Callable[[Any], object], object] = {}
        self._making = RLock()

    @cached_property
    def reader(self) -> Reader:
        """Answers every query of the program."""
        return self._make_reader(self)

    def once(self, make: Callable[[Resources], T]) -> T:
        """What `make` creates from these resources: created by the first call, the same for every later one."""
        with self._making:
            if make not in self._made:
                self._made[make] = make(self)
            return cast("T", self._made[make])

    @property
    def attempts(self) -> Attempts:
        """The limit on guessing passwords."""
        if self._make_attempts is None:
            raise LookupError("no context of this program limits the guessing of passwords")
        return self.once(self._make_attempts)

    def listen(self, channels: Mapping[str, Channel]) -> None:
        """Listen on these channels as well, from the listener's next connection on."""
        self.channels.update(channels)

    def hear(self, channel: str, payloads: Sequence[str]) -> None:
        """Apply what this process has just sent on a channel, then wait until every process has received it."""
        if channel in self.channels:
            for payload in payloads:
                self.channels[channel].hear(payload)
            self.listener.await_everybody(self.database)

    def close(self) -> None:
        """Close the connections."""
        self.listener.stop()
        self.database.close()
