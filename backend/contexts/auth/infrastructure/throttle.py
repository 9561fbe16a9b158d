"""The throttle. It counts attempts in PostgreSQL, so the limit does not depend on the number of API processes.

Guarantee: an attempt is counted, in a short transaction of its own, before it is checked. So of
parallel guesses no more are checked than the limit allows. A crash in between leaves one failure
too many, for five minutes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from backend.contexts.auth.domain.throttle import (
    LONGEST_BLOCK,
    PER_ACCOUNT,
    PER_ACCOUNT_AND_NETWORK,
    PER_NETWORK,
    QUIET,
    Failures,
)
from backend.contexts.auth.infrastructure.tables import failures
from backend.contexts.users.application.queries import ProvePassword
from backend.kernel.delivery.unit_of_work import UnitOfWork
from backend.kernel.limits import network_of
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.refusals import Invalid
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import email_address, folded
from backend.kernel.postgres.counters import Change, Count, Counters, Rule
from backend.kernel.postgres.queries import Reader
from backend.kernel.postgres.retention import Retention
from backend.kernel.resources import Resources
from backend.kernel.turns import Turns, turns_of

_KEPT = QUIET + LONGEST_BLOCK


class Throttle:
    """The counters of failures: per account and network, per account, per network."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def check(self, account: str) -> None:
        """Refuse what the throttle would refuse, before any work is done.

        Raises:
            TooManyAttempts: a limit is reached.
        """
        self._counters.check(self._failure(account))

    def reserve(self, account: str, *, for_code: bool = False) -> None:
        """Count a failure, in a transaction of its own.

        Raises:
            TooManyAttempts: a limit is reached.
        """
        self._counters.change(self._failure(account, for_code=for_code))

    def take_back(self, account: str, connection: sa.Connection | None = None) -> None:
        """Undo one `reserve`; without a connection, in a transaction of its own."""
        self._counters.change(self._changes(account, _one_less, _one_less, _one_less), connection)

    def clear(self, account: str, connection: sa.Connection) -> None:
        """Undo one `reserve`, and forget the account's other failures from this network."""
        self._counters.change(self._changes(account, _none, _one_less, _one_less), connection)

    def _failure(self, account: str, *, for_code: bool = False) -> list[Change]:
        return self._changes(
            account,
            _one_more(PER_ACCOUNT_AND_NETWORK, refusing=not for_code),
            _one_more(PER_ACCOUNT),
            _one_more(PER_NETWORK),
        )

    def _changes(self, account: str, of_pair: Rule, of_account: Rule, of_network: Rule) -> list[Change]:
        network, key = network_of(current_origin.get().ip), self._counters.key
        return [
            Change(key("failures of a pair", account, network), of_pair, _KEPT),
            Change(key("failures of an account", account), of_account, _KEPT),
            Change(key("failures from an address", network), of_network, _KEPT),
        ]


class SqlGuesses:
    """`Guesses` within one unit of work."""

    def __init__(self, unit: UnitOfWork, throttle: Throttle, turns: Turns, reader: Reader) -> None:
        self._unit = unit
        self._throttle = throttle
        self._turns = turns
        self._reader = reader

    def password(self, who: UUID | str, password: Secret) -> int | None:
        """A password is checked for any name, so that the time reveals nothing."""
        user_id = who if isinstance(who, UUID) else None
        account = str(user_id) if user_id else _normalized(str(who))
        with _turn(account, self._throttle, self._turns):
            self._reserve(account)
            return self._reader.ask(ProvePassword(user_id, password))

    def code(self, user_id: UUID) -> None:
        """Count an attempt with a code."""
        self._reserve(str(user_id), for_code=True)

    def right(self, user_id: UUID) -> None:
        """Take the last count back."""
        self._throttle.take_back(str(user_id), self._unit.connection)

    def signed_in(self, user_id: UUID) -> None:
        """Clear the account's count from this network."""
        self._throttle.clear(str(user_id), self._unit.connection)

    def _reserve(self, account: str, *, for_code: bool = False) -> None:
        """Whoever gets no answer has learned nothing: that attempt is no failure."""
        self._throttle.reserve(account, for_code=for_code)
        self._unit.undo_after_fault(lambda: self._throttle.take_back(account))


@dataclass(frozen=True)
class SqlAttempts:
    """`Attempts`, for the passwords of signed-in users."""

    throttle: Throttle
    turns: Turns

    def turn(self, user_id: UUID) -> AbstractContextManager[None]:
        """A turn among the sign-ins."""
        return _turn(str(user_id), self.throttle, self.turns)

    def reserve(self, user_id: UUID) -> None:
        """Count a failure in advance."""
        self.throttle.reserve(str(user_id))

    def succeeded(self, user_id: UUID) -> None:
        """Take the count back."""
        self.throttle.take_back(str(user_id))


def throttle_of(resources: Resources) -> Throttle:
    """The throttle of this process."""
    return Throttle(resources.counters)


def attempts_of(resources: Resources) -> SqlAttempts:
    """The attempts that other contexts use."""
    return SqlAttempts(resources.once(throttle_of), resources.once(turns_of))


FAILURES = Retention(failures.c.updated_at, _KEPT)
"""The counters of release 0.1, while both releases run."""


def _turn(who: str, throttle: Throttle, turns: Turns) -> AbstractContextManager[None]:
    """Check the throttle before the turn: refused requests must not occupy turns."""
    throttle.check(who)
    return turns.one(who, network_of(current_origin.get().ip))


def _one_more(limit: int, *, refusing: bool = True) -> Rule:
    return lambda seen, now: Failures(*seen).plus(now, limit, refusing=refusing)


def _one_less(seen: Count, _now: datetime) -> Failures:
    return Failures(*seen).minus_one()


def _none(_seen: Count, _now: datetime) -> Failures:
    return Failures()


def _normalized(login: str) -> str:
    """An unknown name, normalized: it is throttled like a known one."""
    try:
        return email_address(login)
    except Invalid:
        return folded(login)
