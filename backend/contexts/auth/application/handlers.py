"""Handlers of the auth context, one function per message.

A password is checked before the first use of the transaction: it is slow, and no connection or lock is held meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from uuid import UUID

from uuid_utils.compat import uuid7

from backend.contexts.auth.application.commands import (
    CodeSent,
    EndSession,
    EndSessions,
    Reauthenticate,
    Refresh,
    ResendCode,
    SignIn,
    SignInWithCode,
    SignOut,
    TokenPair,
)
from backend.contexts.auth.application.ports import AuthPorts
from backend.contexts.auth.domain import challenge as challenges
from backend.contexts.auth.domain.account import Account
from backend.contexts.auth.domain.challenge import Challenge
from backend.contexts.auth.domain.errors import InvalidCode, InvalidCredentials, InvalidRefreshToken, SessionNotFound
from backend.contexts.auth.domain.events import (
    PendingAccountUsed,
    RefreshTokenReused,
    SignInCodeRequested,
    UnverifiedSignIn,
)
from backend.contexts.auth.domain.session import BY_PASSWORD, BY_PASSWORD_AND_CODE, Method, Session
from backend.contexts.auth.domain.throttle import LONGEST_BLOCK
from backend.contexts.users.domain.events import (
    PasswordChanged,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserSignedOut,
)
from backend.kernel.messages.authority import ADMIN
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.refusals import TooManyAttempts, WrongPassword
from backend.kernel.messages.registry import Handlers
from backend.kernel.messages.secret import Secret

handlers = Handlers[AuthPorts]("auth", audited=True)


@handlers.on(SignIn)
def sign_in(command: SignIn, ports: AuthPorts) -> TokenPair | CodeSent:
    """Whatever is wrong, the answer is the same."""
    seen = ports.accounts.named(command.login)
    version = ports.guesses.password(seen.user_id if seen else command.login, command.password)
    if seen is None or version is None:
        raise InvalidCredentials
    account = _admitted(seen.user_id, version, ports)
    if account.two_step:
        return _challenge(account, ports)
    return _start_session(account, BY_PASSWORD, ports)


@handlers.on(Reauthenticate)
def reauthenticate(command: Reauthenticate, ports: AuthPorts) -> TokenPair | CodeSent:
    """Require the password again: a stolen access token must not suffice for what cannot be undone."""
    version = ports.guesses.password(command.user_id, command.password)
    account = ports.accounts.held(command.user_id)
    if version is None or account is None or account.password_version != version:
        raise WrongPassword
    if account.two_step:
        return _challenge(account, ports, command.session_id)
    return _reauthenticated(account, command.session_id, BY_PASSWORD, ports)


@handlers.on(SignInWithCode)
def sign_in_with_code(command: SignInWithCode, ports: AuthPorts) -> TokenPair:
    """A wrong code keeps its count, although it is refused."""
    challenge_id, user_id = ports.tokens.read_challenge(command.challenge.value)
    ports.guesses.code(user_id)
    challenge = ports.challenges.get(challenge_id)
    right = challenge.answer(ports.tokens.code_digest(challenge_id, command.code), ports.now())
    account = ports.accounts.held(user_id) if right else None
    if account is None or not account.is_active:
        raise InvalidCode
    if challenge.session_id:
        return _reauthenticated(account, challenge.session_id, BY_PASSWORD_AND_CODE, ports)
    return _start_session(account, BY_PASSWORD_AND_CODE, ports)


@handlers.on(ResendCode)
def resend_code(command: ResendCode, ports: AuthPorts) -> None:
    """Mail another code for the same challenge."""
    challenge_id, user_id = ports.tokens.read_challenge(command.challenge.value)
    challenge = ports.challenges.get(challenge_id)
    account = ports.accounts.held(user_id)
    now = ports.now()
    if account is None or not account.is_active or not challenge.is_live(now):
        raise InvalidCode
    wait = challenge.wait_before_resend(now).total_seconds()
    if wait > 0:
        raise TooManyAttempts(ceil(wait))
    code = ports.tokens.new_code()
    challenge.resend(ports.tokens.code_digest(challenge_id, code), now)
    _mail_code(account, challenge, code)


@handlers.on(Refresh)
def refresh(command: Refresh, ports: AuthPorts) -> TokenPair:
    """Read the roles after locking the session. A change of roles has then either raised its generation
    already, or it waits for this transaction and refuses the token made here.
    """
    token = ports.tokens.read_refresh_token(command.refresh_token.value)
    session = ports.sessions.get(token.session_id)
    account = ports.accounts.of(session)
    if account is None or not account.is_active or not session.is_live(ports.now()):
        raise InvalidRefreshToken
    successor = ports.tokens.successor(session.id, token.fingerprint)
    if not session.exchange(token, successor, ports.now()):
        _end_copied(session, account, ports)
    _note_use(account)
    return ports.tokens.pair(session, _roles(account, session, ports), successor)


@handlers.on(SignOut)
def sign_out(command: SignOut, ports: AuthPorts) -> None:
    """Signing out twice is fine."""
    ports.sessions.end(command.user_id, command.session_id)


@handlers.on(EndSession)
def end_session(command: EndSession, ports: AuthPorts) -> None:
    """Another user's session is reported like one that does not exist."""
    if not ports.sessions.end(command.user_id, command.session_id):
        raise SessionNotFound


@handlers.on(EndSessions)
def end_sessions(command: EndSessions, ports: AuthPorts) -> None:
    """Sign out everywhere."""
    ports.sessions.end_sessions(command.user_id)


@handlers.within(UserDeactivated)
def end_sessions_of_the_inactive(event: UserDeactivated, ports: AuthPorts) -> None:
    """End every session of a deactivated user at once."""
    ports.sessions.end_sessions(event.user_id)


@handlers.within(UserSignedOut)
def end_sessions_of_the_signed_out(event: UserSignedOut, ports: AuthPorts) -> None:
    """End every session of a user whom an administrator signed out."""
    ports.sessions.end_sessions(event.user_id)


@handlers.within(UserDeleted)
def end_sessions_of_the_deleted(event: UserDeleted, ports: AuthPorts) -> None:
    """End every session of a deleted user at once."""
    ports.sessions.end_sessions(event.user_id)


@handlers.within(PasswordChanged)
def end_other_sessions(event: PasswordChanged, ports: AuthPorts) -> None:
    """End the sessions that signed in with the old password; keep the one that changed it."""
    ports.sessions.end_sessions(event.user_id, keep=event.session_id)


@handlers.within(UserRolesChanged)
def refuse_tokens_with_old_roles(event: UserRolesChanged, ports: AuthPorts) -> None:
    """Refuse access tokens with the old roles. The sessions stay: a refresh returns a token with the new roles."""
    ports.sessions.refuse_tokens(event.user_id)


def _admitted(user_id: UUID, password_version: int, ports: AuthPorts) -> Account:
    """The account as it is now, after its password was checked, locked against changes."""
    account = ports.accounts.held(user_id)
    if account is None or not account.is_active or account.password_version != password_version:
        raise InvalidCredentials
    if ports.verification_required and not account.email_verified:
        account.record(UnverifiedSignIn(account.user_id))
        raise InvalidCredentials
    _note_use(account)
    return account


def _note_use(account: Account) -> None:
    """A pending account is deleted after a while, unless it is in use."""
    if account.pending:
        account.record(PendingAccountUsed(account.user_id))


def _start_session(account: Account, methods: tuple[Method, ...], ports: AuthPorts) -> TokenPair:
    context = current_origin.get()
    token = ports.tokens.first_refresh_token()
    session = Session.start(account.user_id, token, methods, ports.now(), context.ip, context.user_agent)
    ports.sessions.add(session)
    ports.guesses.signed_in(account.user_id)
    pair = ports.tokens.pair(session, _roles(account, session, ports), token)
    return replace(pair, two_step_missing=account.is_admin and not account.two_step)


def _reauthenticated(account: Account, session_id: UUID, methods: tuple[Method, ...], ports: AuthPorts) -> TokenPair:
    session = ports.sessions.get(session_id)
    if not session.is_live(ports.now()):
        raise InvalidRefreshToken
    token = ports.tokens.successor(session.id, session.refresh_fingerprint)
    session.reauthenticate(token, methods, ports.now())
    ports.guesses.signed_in(account.user_id)
    return ports.tokens.pair(session, _roles(account, session, ports), token)


def _roles(account: Account, session: Session, ports: AuthPorts) -> tuple[str, ...]:
    """The roles in the access tokens of the session."""
    if ports.admins_need_two_step and Method.MULTIPLE not in session.methods:
        return tuple(role for role in account.roles if role != ADMIN)
    return account.roles


def _challenge(account: Account, ports: AuthPorts, session_id: UUID | None = None) -> CodeSent:
    if ports.challenges.count_lately(account.user_id) >= challenges.PER_HOUR:
        raise TooManyAttempts(int(LONGEST_BLOCK.total_seconds()))
    challenge_id: UUID = uuid7()
    code = ports.tokens.new_code()
    digest = ports.tokens.code_digest(challenge_id, code)
    challenge = Challenge.open(challenge_id, account.user_id, digest, ports.now(), session_id)
    ports.challenges.add(challenge)
    _mail_code(account, challenge, code)
    ports.guesses.right(account.user_id)
    lifetime = int(challenges.LIFETIME.total_seconds())
    return CodeSent(two_step=True, challenge=ports.tokens.challenge(challenge), expires_in=lifetime)


def _mail_code(account: Account, challenge: Challenge, code: Secret) -> None:
    account.record(
        SignInCodeRequested(
            account.user_id, account.email, account.name, account.language, code, challenge.id, challenge.expires_at
        )
    )


def _end_copied(session: Session, account: Account, ports: AuthPorts) -> None:
    ports.sessions.end(account.user_id, session.id)
    ip = current_origin.get().ip
    account.record(RefreshTokenReused(account.user_id, account.email, account.name, account.language, session.id, ip))
    raise InvalidRefreshToken
