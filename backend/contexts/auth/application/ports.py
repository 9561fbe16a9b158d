"""Ports of the auth context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from backend.contexts.auth.application.commands import TokenPair
from backend.contexts.auth.domain.account import Account
from backend.contexts.auth.domain.challenge import Challenge
from backend.contexts.auth.domain.session import RefreshToken, Session
from backend.kernel.messages.secret import Secret


class Accounts(Protocol):
    """The accounts of users."""

    def named(self, login: str) -> Account | None:
        """The account with this address or username. No transaction stays open."""

    def held(self, user_id: UUID) -> Account | None:
        """An account as it is now, locked against changes until the transaction ends."""

    def of(self, session: Session) -> Account | None:
        """The account of a session that is locked already."""


class Guesses(Protocol):
    """Attempts with a password or a code. Each is counted as a failure before it is checked, so that
    parallel guesses count in full. The caller's address is in the current context.

    Every method raises TooManyAttempts: there were too many recently, and a correct one is refused as well.
    """

    def password(self, who: UUID | str, password: Secret) -> int | None:
        """The version of the user's password if it matches, else None.

        Args:
            who: the user, or a name that nobody has: then None, as slowly.

        Raises:
            Busy: too many passwords are being checked; this one was neither checked nor counted.
        """

    def code(self, user_id: UUID) -> None:
        """Count an attempt with a code. A challenge limits its attempts, so only an account or an address
        that fails repeatedly is refused here. The attempt counts towards the limit of passwords.
        """

    def right(self, user_id: UUID) -> None:
        """The last attempt was correct: take its count back."""

    def signed_in(self, user_id: UUID) -> None:
        """The last attempt completed a sign-in: forget the account's failures from this address too."""


class Sessions(Protocol):
    """The stored sessions."""

    def add(self, session: Session) -> None:
        """Store a new session of a locked user. If they have too many now, the oldest ends."""

    def get(self, session_id: UUID) -> Session:
        """One session, to be changed; locked against other changes.

        Raises:
            InvalidRefreshToken: it does not exist.
        """

    def end(self, user_id: UUID, session_id: UUID) -> bool:
        """End one session of a user, unless it has ended. Its access tokens are refused from the next
        request on. Returns whether there was an active one.
        """

    def end_sessions(self, user_id: UUID, keep: UUID | None = None) -> None:
        """End every session of a user but `keep`, and the sign-ins that wait for a code."""

    def refuse_tokens(self, user_id: UUID) -> None:
        """Refuse the access tokens issued until now; the sessions stay, and a refresh brings a good token."""


class Challenges(Protocol):
    """The sign-ins that wait for a code."""

    def count_lately(self, user_id: UUID) -> int:
        """How many this user had within an hour; the user is locked."""

    def add(self, challenge: Challenge) -> None:
        """Store a new challenge."""

    def get(self, challenge_id: UUID) -> Challenge:
        """One challenge, to be changed; locked against other changes.

        Raises:
            InvalidCode: it does not exist.
        """


class Tokens(Protocol):
    """Makes and reads tokens and codes."""

    def first_refresh_token(self) -> RefreshToken:
        """The random refresh token of a new session."""

    def successor(self, session_id: UUID, fingerprint: str) -> RefreshToken:
        """The refresh token that replaces the one with this fingerprint: always the same, and not predictable without
        the key.
        """

    def pair(self, session: Session, roles: tuple[str, ...], token: RefreshToken) -> TokenPair:
        """Both tokens of a session, as its client gets them."""

    def read_refresh_token(self, text: str) -> RefreshToken:
        """The token that `pair` wrote.

        Raises:
            InvalidRefreshToken: `pair` did not write it.
        """

    def challenge(self, challenge: Challenge) -> str:
        """The challenge as its client gets it."""

    def read_challenge(self, text: str) -> tuple[UUID, UUID]:
        """The ids of the challenge and of its user.

        Raises:
            InvalidCode: `challenge` did not write it.
        """

    def new_code(self) -> Secret:
        """Six random digits."""

    def code_digest(self, challenge_id: UUID, code: Secret) -> bytes:
        """The keyed digest of a code, which the database stores."""


@dataclass(frozen=True)
class AuthPorts:
    """The ports of an auth handler, opened for one transaction.

    Attributes:
        verification_required: whether an account with an unverified address cannot sign in.
        admins_need_two_step: whether access tokens name the role `admin` only after two-step sign-in.
    """

    accounts: Accounts
    guesses: Guesses
    sessions: Sessions
    challenges: Challenges
    tokens: Tokens
    now: Callable[[], datetime]
    verification_required: bool = False
    admins_need_two_step: bool = False
