"""The auth context's ports, in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from backend.contexts.auth.application.commands import TokenPair
from backend.contexts.auth.application.ports import AuthPorts
from backend.contexts.auth.domain.account import Account
from backend.contexts.auth.domain.challenge import Challenge
from backend.contexts.auth.domain.errors import InvalidCode, InvalidRefreshToken
from backend.contexts.auth.domain.session import RefreshToken, Session
from backend.kernel.messages.secret import Secret

PASSWORD = "correct horse battery"
CODE = Secret("042137")


class InMemoryAccounts:
    """`Accounts` as a dict, by address."""

    def __init__(self, *accounts: Account) -> None:
        self._accounts = {account.email: account for account in accounts}

    def named(self, login: str) -> Account | None:
        return self._accounts.get(login)

    def held(self, user_id: UUID) -> Account | None:
        return next((account for account in self._accounts.values() if account.user_id == user_id), None)

    def of(self, session: Session) -> Account | None:
        return self.held(session.user_id)


class CountedGuesses:
    """`Guesses` that only count."""

    def __init__(self) -> None:
        self.failures = 0

    def password(self, who: UUID | str, password: Secret) -> int | None:
        self.failures += 1
        return 1 if isinstance(who, UUID) and password.value == PASSWORD else None

    def code(self, user_id: UUID) -> None:
        self.failures += 1

    def right(self, user_id: UUID) -> None:
        self.failures -= 1

    def signed_in(self, user_id: UUID) -> None:
        self.failures = 0


class InMemorySessions:
    """`Sessions` as a dict."""

    def __init__(self) -> None:
        self.all: dict[UUID, Session] = {}

    def add(self, session: Session) -> None:
        self.all[session.id] = session

    def get(self, session_id: UUID) -> Session:
        if session_id not in self.all:
            raise InvalidRefreshToken
        return self.all[session_id]

    def end(self, user_id: UUID, session_id: UUID) -> bool:
        session = self.all.get(session_id)
        if session is None or session.user_id != user_id or session.ended_at:
            return False
        session.ended_at = datetime.now(UTC)
        return True

    def end_sessions(self, user_id: UUID, keep: UUID | None = None) -> None:
        for session_id in self.all.keys() - {keep}:
            self.end(user_id, session_id)

    def refuse_tokens(self, user_id: UUID) -> None:
        for session in self.all.values():
            if session.user_id == user_id and not session.ended_at:
                session.generation += 1


class InMemoryChallenges:
    """`Challenges` as a dict."""

    def __init__(self) -> None:
        self.all: dict[UUID, Challenge] = {}

    def count_lately(self, user_id: UUID) -> int:
        return len(self.all)

    def add(self, challenge: Challenge) -> None:
        self.all[challenge.id] = challenge

    def get(self, challenge_id: UUID) -> Challenge:
        if challenge_id not in self.all:
            raise InvalidCode
        return self.all[challenge_id]


class PlainTokens:
    """`Tokens` that hide nothing."""

    def first_refresh_token(self) -> RefreshToken:
        return RefreshToken(uuid4(), b"first")

    def successor(self, session_id: UUID, fingerprint: str) -> RefreshToken:
        return RefreshToken(session_id, f"after-{fingerprint[:8]}".encode())

    def pair(self, session: Session, roles: tuple[str, ...], token: RefreshToken) -> TokenPair:
        return TokenPair(",".join(roles), "Bearer", 900, f"{token.session_id} {token.secret.decode()}")

    def read_refresh_token(self, text: str) -> RefreshToken:
        session_id, secret = text.split()
        return RefreshToken(UUID(session_id), secret.encode())

    def challenge(self, challenge: Challenge) -> str:
        return f"{challenge.id} {challenge.user_id}"

    def read_challenge(self, text: str) -> tuple[UUID, UUID]:
        challenge_id, user_id = text.split()
        return UUID(challenge_id), UUID(user_id)

    def new_code(self) -> Secret:
        return CODE

    def code_digest(self, challenge_id: UUID, code: Secret) -> bytes:
        return code.value.encode()


class World:
    """Everything an auth handler may reach, and the clock's hand."""

    def __init__(
        self, *accounts: Account, verification_required: bool = False, admins_need_two_step: bool = False
    ) -> None:
        self.time = datetime(2026, 1, 2, tzinfo=UTC)
        self.guesses = CountedGuesses()
        self.sessions = InMemorySessions()
        self.challenges = InMemoryChallenges()
        self.ports = AuthPorts(
            accounts=InMemoryAccounts(*accounts),
            guesses=self.guesses,
            sessions=self.sessions,
            challenges=self.challenges,
            tokens=PlainTokens(),
            now=lambda: self.time,
            verification_required=verification_required,
            admins_need_two_step=admins_need_two_step,
        )

    def later(self, **time: float) -> None:
        self.time += timedelta(**time)


def account(*, is_active: bool = True, email_verified: bool = True, two_step: bool = False) -> Account:
    return Account(
        user_id=uuid4(),
        email="ada@example.com",
        name="Ada",
        language="en",
        roles=("admin",),
        is_active=is_active,
        email_verified=email_verified,
        pending=False,
        two_step=two_step,
        password_version=1,
    )
