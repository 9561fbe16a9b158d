"""What the auth context needs of the outside."""

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
    """The users, as signing in knows them."""

    def named(self, login: str) -> Account | None:
        """Whoever signs in with this address or username; no transaction is left open."""

    def held(self, user_id: UUID) -> Account | None:
        """A user as they are now, who stays so until the transaction ends."""

    def of(self, session: Session) -> Account | None:
        """The user of a session that is held already."""


class Guesses(Protocol):
    """Attempts to prove who one is. Each is counted as a failure before it is checked, so that
    parallel guesses count in full; the address that guesses is in the current context.

    Every method raises TooManyAttempts: there were too many lately, the right answer is refused as well.
    """

    def password(self, login: str, account: Account | None, password: Secret) -> bool:
        """Whether it is the account's password. For an account that does not exist: False, as slowly.

        Raises:
            Busy: too many passwords are being checked; this one was not, and does not count.
        """

    def code(self, user_id: UUID) -> None:
        """Somebody will try a code. Tries are limited by challenge, so only an account or an address
        that fails over and over is refused here; the try counts for the next password.
        """

    def right(self, user_id: UUID) -> None:
        """The last one was right: take its count back."""

    def signed_in(self, user_id: UUID) -> None:
        """The last one completed a sign-in: forget the account's failures from this address too."""


class Sessions(Protocol):
    """The sessions there are."""

    def add(self, session: Session) -> None:
        """Keep a new session."""

    def get(self, session_id: UUID) -> Session:
        """One session, to be changed; nobody else changes it meanwhile.

        Raises:
            InvalidRefreshToken: there is none.
        """

    def end(self, user_id: UUID, session_id: UUID) -> bool:
        """End one session of a user, unless it has ended; its access tokens are refused from the next
        request on. Returns whether there was one to end.
        """

    def end_sessions(self, user_id: UUID, keep: UUID | None = None) -> None:
        """End every session of a user but `keep`, and the sign-ins that wait for a code."""

    def refuse_tokens(self, user_id: UUID) -> None:
        """Refuse the access tokens issued until now; the sessions stay, and a refresh brings a good token."""


class Challenges(Protocol):
    """The sign-ins that wait for a code."""

    def count_lately(self, user_id: UUID) -> int:
        """How many this user had within an hour. Until the transaction ends nobody adds one for them."""

    def add(self, challenge: Challenge) -> None:
        """Keep a new one."""

    def get(self, challenge_id: UUID) -> Challenge:
        """One of them, to be changed; nobody else changes it meanwhile.

        Raises:
            InvalidCode: there is none.
        """


class Tokens(Protocol):
    """What leaves the program and comes back."""

    def first_refresh_token(self) -> RefreshToken:
        """The random one a new session begins with."""

    def successor(self, token: RefreshToken) -> RefreshToken:
        """The one that takes its place: always the same, and nobody else can tell which."""

    def pair(self, session: Session, roles: tuple[str, ...], token: RefreshToken) -> TokenPair:
        """Both tokens of a session as its client gets them."""

    def read_refresh_token(self, text: str) -> RefreshToken:
        """The token that `pair` wrote.

        Raises:
            InvalidRefreshToken: it wrote no such thing.
        """

    def challenge(self, challenge: Challenge) -> str:
        """The challenge as its client gets it."""

    def read_challenge(self, text: str) -> tuple[UUID, UUID]:
        """The ids of the challenge and of its user.

        Raises:
            InvalidCode: `challenge` wrote no such thing.
        """

    def new_code(self) -> Secret:
        """Six random digits."""

    def code_digest(self, challenge_id: UUID, code: Secret) -> bytes:
        """What the database knows the code by."""


@dataclass(frozen=True)
class AuthPorts:
    """What an auth handler may reach, opened for one transaction.

    Attributes:
        verification_required: whether an account whose address is not proven is kept out.
    """

    accounts: Accounts
    guesses: Guesses
    sessions: Sessions
    challenges: Challenges
    tokens: Tokens
    now: Callable[[], datetime]
    verification_required: bool = False
