"""The throttle. It counts attempts in PostgreSQL, so the limit does not depend on the number of API processes.

Guarantee: an attempt is counted, in a short transaction of its own, before it is checked. So of
parallel guesses no more are checked than the limit allows. A crash in between leaves one failure
too many, for five minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from threading import Condition
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from backend.contexts.auth.domain.account import Account
from backend.contexts.auth.domain.errors import Busy
from backend.contexts.auth.domain.throttle import (
    LONGEST_BLOCK,
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ADDRESS,
    QUIET,
    Failures,
)
from backend.contexts.auth.infrastructure.tables import failures
from backend.contexts.users.application.queries import ProvePassword
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.keys import Keyring
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.refusals import Invalid
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import email_address
from backend.kernel.postgres.database import Database
from backend.kernel.postgres.queries import Reader
from backend.kernel.postgres.retention import Retention
from backend.kernel.resources import Resources

_LONGEST_WAIT = 4.0
_PLACES_TO_WAIT = 40
"""Fewer than a process has threads (64): a request that waits for a turn occupies one."""

Change = Callable[[Failures], Failures]


class Turns:
    """Limits how many passwords this process checks at once: many sign-ins must leave cores to the reads.

    Of one account, one at a time: correct ones in parallel would look like failures to each other.
    """

    def __init__(self, at_once: int | None = None, longest_wait: float = _LONGEST_WAIT) -> None:
        self._free = at_once or os.cpu_count() or 1
        self._places = _PLACES_TO_WAIT
        self._longest_wait = longest_wait
        self._accounts: set[str] = set()
        self._changed = Condition()

    @contextmanager
    def one(self, account: str) -> Iterator[None]:
        """A turn for this account.

        Raises:
            Busy: too many requests wait, or this one waited too long.
        """
        with self._changed:
            if not self._places:
                raise Busy
            self._places -= 1
            mine = self._changed.wait_for(lambda: self._free and account not in self._accounts, self._longest_wait)
            self._places += 1
            if not mine:
                raise Busy
            self._free -= 1
            self._accounts.add(account)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._accounts.discard(account)
                self._changed.notify_all()


class Throttle:
    """The counters of failures: per account and address, per account, per address."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def reserve(self, account: str, *, for_code: bool = False) -> None:
        """Count a failure, in a transaction of its own.

        Raises:
            TooManyAttempts: a limit is reached.
        """
        now = datetime.now(UTC)
        pair, whole_account, address = self._keys(account)
        changes: dict[bytes, Change] = {
            pair: lambda seen: seen.plus(now, PER_ACCOUNT_AND_ADDRESS, refusing=not for_code),
            whole_account: lambda seen: seen.plus(now, PER_ACCOUNT),
            address: lambda seen: seen.plus(now, PER_ADDRESS),
        }
        with self._database.transaction() as connection:
            _change(connection, changes)

    def take_back(self, account: str, connection: sa.Connection | None = None) -> None:
        """Undo one `reserve`; without a connection, in a transaction of its own."""
        changes: dict[bytes, Change] = dict.fromkeys(self._keys(account), Failures.minus_one)
        if connection is not None:
            _change(connection, changes)
        else:
            with self._database.transaction() as own:
                _change(own, changes)

    def clear(self, account: str, connection: sa.Connection) -> None:
        """Undo one `reserve`, and forget the account's other failures from this address."""
        pair, whole_account, address = self._keys(account)
        one_less = Failures.minus_one
        _change(connection, {pair: lambda _: Failures(), whole_account: one_less, address: one_less})

    def _keys(self, account: str) -> tuple[bytes, bytes, bytes]:
        address = _network(current_origin.get().ip)
        return self._key("pair", account, address), self._key("account", account), self._key("address", address)

    def _key(self, *names: str) -> bytes:
        # The caller chooses the account's name but cannot write a NUL, so it cannot name another counter.
        return self._keyring.digest("throttle", "\0".join(names).encode())


class SqlGuesses:
    """`Guesses` within one unit of work."""

    def __init__(self, unit: UnitOfWork, throttle: Throttle, turns: Turns, reader: Reader) -> None:
        self._unit = unit
        self._throttle = throttle
        self._turns = turns
        self._reader = reader

    def password(self, login: str, account: Account | None, password: Secret) -> int | None:
        """A password is checked for any name, so that the time reveals nothing."""
        who = str(account.user_id) if account else _normalized(login)
        with self._turns.one(who):
            self._throttle.reserve(who)
            return self._reader.ask(ProvePassword(account.user_id if account else None, password))

    def code(self, user_id: UUID) -> None:
        """Count an attempt with a code."""
        self._throttle.reserve(str(user_id), for_code=True)

    def right(self, user_id: UUID) -> None:
        """Take the last count back."""
        self._throttle.take_back(str(user_id), self._unit.connection)

    def signed_in(self, user_id: UUID) -> None:
        """Clear the account's count from this address."""
        self._throttle.clear(str(user_id), self._unit.connection)


@dataclass(frozen=True)
class SqlAttempts:
    """The throttle as the users context needs it, for the passwords of signed-in users."""

    throttle: Throttle
    turns: Turns

    def turn(self, user_id: UUID) -> AbstractContextManager[None]:
        """A turn among the sign-ins."""
        return self.turns.one(str(user_id))

    def reserve(self, user_id: UUID) -> None:
        """Count a failure in advance."""
        self.throttle.reserve(str(user_id))

    def succeeded(self, user_id: UUID) -> None:
        """Take the count back."""
        self.throttle.take_back(str(user_id))


def throttle_of(resources: Resources) -> Throttle:
    """The throttle of this process."""
    return Throttle(resources.database, resources.keyring)


def turns_of(_resources: Resources) -> Turns:
    """The turns of this process."""
    return Turns()


FAILURES = Retention(failures.c.updated_at, QUIET + LONGEST_BLOCK)
"""Counters that no longer refuse anybody or lengthen a block."""


def _change(connection: sa.Connection, changes: Mapping[bytes, Change]) -> None:
    """Lock the counters in the order of their keys, against deadlocks, then change them."""
    keys = sorted(changes)
    connection.execute(
        insert(failures).on_conflict_do_nothing(), [{"key": key, "times": [], "blocks": 0} for key in keys]
    )
    locked = sa.select(failures).where(failures.c.key.in_(keys)).order_by(failures.c.key).with_for_update()
    rows = connection.execute(locked).all()
    changed = {row.key: changes[row.key](Failures(tuple(row.times), row.blocks)) for row in rows}
    connection.execute(
        failures.update()
        .where(failures.c.key == sa.bindparam("counter"))
        .values(times=sa.bindparam("times"), blocks=sa.bindparam("blocks"), updated_at=sa.func.now()),
        [{"counter": key, "times": list(one.times), "blocks": one.blocks} for key, one in changed.items()],
    )


def _normalized(login: str) -> str:
    """An unknown name, normalized: it is throttled like a known one."""
    try:
        return email_address(login)
    except Invalid:
        return login.lower()


def _network(ip: str) -> str:
    """The addresses that one attacker has: an IPv6 /64, or one IPv4 address."""
    try:
        address = ip_address(ip)
    except ValueError:
        return ip
    if not isinstance(address, IPv6Address):
        return ip
    return str(address.ipv4_mapped or int(address) >> 64)
