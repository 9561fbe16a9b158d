"""The ports of the users context, in memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from backend.contexts.users.application.ports import UsersPorts
from backend.contexts.users.domain.errors import EmailTaken, InvalidLink, UsernameTaken, UserNotFound
from backend.contexts.users.domain.links import PER_ADDRESS, PER_HOUR, Link, Occasion, Purpose
from backend.contexts.users.domain.user import User
from backend.kernel.messages.event import Event
from backend.kernel.messages.refusals import TooManyAttempts
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import EmailAddress, folded


@dataclass
class InMemoryUsers:
    """`Users` in a dict."""

    by_id: dict[UUID, User] = field(default_factory=dict)

    def add(self, user: User) -> None:
        self.by_id[user.id] = user
        user.version = 1
        self.save(user)

    def get(self, user_id: UUID) -> User:
        if user_id not in self.by_id:
            raise UserNotFound
        return self.by_id[user_id]

    def peek(self, user_id: UUID) -> User:
        return copy.copy(self.get(user_id))

    def save(self, user: User) -> None:
        for other in self.by_id.values():
            if other is user:
                continue
            if other.email == user.email and not (other.pending or user.pending):
                raise EmailTaken
            if user.username_key and other.username_key == user.username_key:
                raise UsernameTaken

    def claim_username(self, user: User) -> None:
        if user.wanted_username and self.is_username_taken(user.wanted_username):
            raise UsernameTaken
        user.take_wanted_username()

    def remove(self, user: User) -> None:
        del self.by_id[user.id]

    def hold_address(self, email: EmailAddress) -> None:
        """One thread: nobody else."""

    def holder_of(self, email: EmailAddress) -> User | None:
        return next((user for user in self.by_id.values() if user.email == email and not user.pending), None)

    def waiting_for(self, email: EmailAddress) -> Sequence[User]:
        waiting = [user for user in self.by_id.values() if user.email == email and user.pending]
        return waiting[::-1]

    def is_username_taken(self, username: str) -> bool:
        return any(user.username_key == folded(username) for user in self.by_id.values())

    def is_last_admin(self, user: User) -> bool:
        return not any(other.is_active_admin for other in self.by_id.values() if other is not user)


@dataclass
class _Issued:
    user_id: UUID
    purpose: Purpose
    occasion: Occasion
    email: EmailAddress
    live: bool = True


@dataclass
class InMemoryLinks:
    """`Links` in a dict; the hour never ends and nothing expires."""

    users: InMemoryUsers
    issued: dict[str, _Issued] = field(default_factory=dict)

    def issue(self, user_id: UUID, purpose: Purpose, occasion: Occasion, email: EmailAddress) -> Secret | None:
        same = [
            link
            for link in self.issued.values()
            if (link.user_id, link.purpose, link.occasion) == (user_id, purpose, occasion)
        ]
        mailed = [link for link in self.issued.values() if link.email == email]
        if len(same) >= PER_HOUR.get(occasion, 1) or len(mailed) >= PER_ADDRESS:
            return None
        self.end(user_id, purpose)
        token = f"token-{len(self.issued)}"
        self.issued[token] = _Issued(user_id, purpose, occasion, email)
        return Secret(token)

    def find(self, token: Secret, *purposes: Purpose) -> Link:
        link = self._live(token, *purposes)
        return Link(link.user_id, link.purpose, link.email if link.purpose is Purpose.CHANGE_EMAIL else None)

    def use(self, token: Secret, *purposes: Purpose) -> None:
        self._live(token, *purposes).live = False

    def end(self, user_id: UUID, *purposes: Purpose) -> None:
        for link in self.issued.values():
            if link.user_id == user_id and link.purpose in purposes:
                link.live = False

    def _live(self, token: Secret, *purposes: Purpose) -> _Issued:
        link = self.issued.get(token.value)
        if link is None or not link.live or link.purpose not in purposes:
            raise InvalidLink
        return link


class PlainHasher:
    """`PasswordHasher` that anybody can read."""

    def hash(self, password: Secret) -> str:
        return f"hash of {password.value}"

    def verify(self, password: Secret, password_hash: str) -> bool:
        return password_hash == self.hash(password)


@dataclass
class AttemptsInMemory:
    """`Attempts`: `most` failures, then no more."""

    most: int = 5
    failed: dict[UUID, int] = field(default_factory=dict)

    def turn(self, user_id: UUID) -> AbstractContextManager[None]:
        return nullcontext()

    def reserve(self, user_id: UUID) -> None:
        if self.failed.get(user_id, 0) >= self.most:
            raise TooManyAttempts(60)
        self.failed[user_id] = self.failed.get(user_id, 0) + 1

    def succeeded(self, user_id: UUID) -> None:
        self.failed[user_id] -= 1


@dataclass
class World:
    """Everything a users handler reaches."""

    users: InMemoryUsers = field(default_factory=InMemoryUsers)
    links: InMemoryLinks = field(init=False)
    attempts: AttemptsInMemory = field(default_factory=AttemptsInMemory)
    verification_required: bool = False

    def __post_init__(self) -> None:
        self.links = InMemoryLinks(self.users)

    @property
    def ports(self) -> UsersPorts:
        return UsersPorts(
            self.users,
            self.links,
            PlainHasher(),
            self.attempts,
            lambda _user_id: nullcontext(),
            datetime.now(UTC),
            self.verification_required,
        )

    def events_of(self, user_id: UUID) -> list[Event]:
        """What happened to a user since the last call."""
        return self.users.get(user_id).pull_events()
