"""What the auth handlers decide, with no database."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

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
from backend.contexts.auth.application.handlers import (
    end_other_sessions,
    end_session,
    end_sessions,
    end_sessions_of_the_deleted,
    end_sessions_of_the_inactive,
    end_sessions_of_the_signed_out,
    reauthenticate,
    refresh,
    refuse_tokens_with_old_roles,
    resend_code,
    sign_in,
    sign_in_with_code,
    sign_out,
)
from backend.contexts.auth.domain.account import Account
from backend.contexts.auth.domain.errors import InvalidCode, InvalidCredentials, InvalidRefreshToken, SessionNotFound
from backend.contexts.auth.domain.events import RefreshTokenReused, SignInCodeRequested, UnverifiedSignIn
from backend.contexts.auth.domain.session import Session
from backend.contexts.users.domain.events import (
    PasswordChanged,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserSignedOut,
)
from backend.kernel.messages.refusals import TooManyAttempts, WrongPassword
from backend.kernel.messages.secret import Secret
from tests.contexts.auth.fakes import CODE, PASSWORD, World, account


def given(password: str, login: str = "ada@example.com") -> SignIn:
    return SignIn(login, Secret(password))


def signed_in(world: World) -> TokenPair:
    pair = sign_in(given(PASSWORD), world.ports)
    assert isinstance(pair, TokenPair)
    return pair


def challenged(world: World) -> str:
    sent = sign_in(given(PASSWORD), world.ports)
    assert isinstance(sent, CodeSent)
    assert (sent.two_step, sent.expires_in) == (True, 300)
    return sent.challenge


def test_signing_in_starts_a_session_with_the_accounts_roles() -> None:
    ada = account()
    world = World(ada)
    pair = signed_in(world)
    assert (pair.access_token, pair.token_type, pair.expires_in) == ("admin", "Bearer", 900)
    assert [session.user_id for session in world.sessions.all.values()] == [ada.user_id]
    assert world.guesses.failures == 0


@pytest.mark.parametrize(
    ("who", "command"),
    [
        (account(), given("wrong")),
        (account(), given(PASSWORD, "nobody@example.com")),
        (account(is_active=False), given(PASSWORD)),
    ],
)
def test_a_failed_sign_in_stays_counted(who: Account, command: SignIn) -> None:
    world = World(who)
    with pytest.raises(InvalidCredentials):
        sign_in(command, world.ports)
    assert world.guesses.failures == 1
    assert not world.sessions.all


@pytest.mark.parametrize("required", [True, False])
def test_only_where_verification_is_required_an_unverified_account_is_kept_out(required: bool) -> None:  # noqa: FBT001
    ada = account(email_verified=False)
    world = World(ada, verification_required=required)
    if not required:
        assert signed_in(world).access_token == "admin"
        return
    with pytest.raises(InvalidCredentials):
        sign_in(given(PASSWORD), world.ports)
    assert ada.pull_events() == [UnverifiedSignIn(ada.user_id)]
    assert world.guesses.failures == 1


def test_two_step_mails_a_code_and_starts_no_session() -> None:
    ada = account(two_step=True)
    world = World(ada)
    challenged(world)
    (event,) = ada.pull_events()
    assert isinstance(event, SignInCodeRequested)
    assert (event.email, event.code) == (ada.email, CODE)
    assert not world.sessions.all


def test_the_code_starts_the_session() -> None:
    world = World(account(two_step=True))
    pair = sign_in_with_code(SignInWithCode(Secret(challenged(world)), CODE), world.ports)
    assert isinstance(pair, TokenPair)
    assert len(world.sessions.all) == 1


def test_a_code_expires_after_five_minutes() -> None:
    world = World(account(two_step=True))
    challenge = Secret(challenged(world))
    world.later(minutes=5)
    with pytest.raises(InvalidCode):
        sign_in_with_code(SignInWithCode(challenge, CODE), world.ports)


def test_a_sixth_challenge_within_the_hour_is_too_many() -> None:
    world = World(account(two_step=True))
    for _ in range(5):
        challenged(world)
    with pytest.raises(TooManyAttempts) as refused:
        sign_in(given(PASSWORD), world.ports)
    assert 0 < (refused.value.retry_after or 0) <= 900


def test_another_code_is_mailed_once_a_minute() -> None:
    ada = account(two_step=True)
    world = World(ada)
    command = ResendCode(Secret(challenged(world)))
    world.later(seconds=59.5)
    with pytest.raises(TooManyAttempts) as refused:
        resend_code(command, world.ports)
    assert refused.value.retry_after == 1
    world.later(seconds=0.5)
    resend_code(command, world.ports)
    assert len(ada.pull_events()) == 2


def test_a_refresh_token_is_exchanged_for_its_successor() -> None:
    world = World(account())
    first = signed_in(world).refresh_token
    second = refresh(Refresh(Secret(first)), world.ports)
    assert isinstance(second, TokenPair)
    assert second.refresh_token != first
    world.later(seconds=30)
    assert refresh(Refresh(Secret(first)), world.ports).refresh_token == second.refresh_token


def test_a_late_replay_ends_the_session_and_says_so() -> None:
    ada = account()
    world = World(ada)
    first = signed_in(world).refresh_token
    refresh(Refresh(Secret(first)), world.ports)
    world.later(seconds=31)
    with pytest.raises(InvalidRefreshToken):
        refresh(Refresh(Secret(first)), world.ports)
    (session,) = world.sessions.all.values()
    assert session.ended_at
    (event,) = ada.pull_events()
    assert isinstance(event, RefreshTokenReused)
    assert (event.user_id, event.session_id) == (ada.user_id, session.id)


def test_a_session_lasts_thirty_days_after_its_last_use() -> None:
    world = World(account())
    token = signed_in(world).refresh_token
    world.later(days=29)
    token = refresh(Refresh(Secret(token)), world.ports).refresh_token
    world.later(days=29)
    token = refresh(Refresh(Secret(token)), world.ports).refresh_token
    world.later(days=30)
    with pytest.raises(InvalidRefreshToken):
        refresh(Refresh(Secret(token)), world.ports)


def test_a_session_lasts_ninety_days_however_often_it_is_used() -> None:
    world = World(account())
    token = signed_in(world).refresh_token
    for _ in range(4):
        world.later(days=22)
        token = refresh(Refresh(Secret(token)), world.ports).refresh_token
    world.later(days=2)
    with pytest.raises(InvalidRefreshToken):
        refresh(Refresh(Secret(token)), world.ports)


def again(world: World, password: str = PASSWORD) -> TokenPair | CodeSent:
    (session,) = world.sessions.all.values()
    return reauthenticate(Reauthenticate(session.user_id, session.id, Secret(password)), world.ports)


def test_proving_the_password_again_renews_the_session() -> None:
    world = World(account())
    first = signed_in(world).refresh_token
    world.later(days=1)
    pair = again(world)
    assert isinstance(pair, TokenPair)
    (session,) = world.sessions.all.values()
    assert (session.authenticated_at, session.methods) == (world.time, ["pwd"])
    assert refresh(Refresh(Secret(first)), world.ports).refresh_token == pair.refresh_token
    assert world.guesses.failures == 0


def test_a_wrong_password_does_not_renew_the_session_and_counts() -> None:
    world = World(account())
    signed_in(world)
    began = world.time
    world.later(days=1)
    with pytest.raises(WrongPassword):
        again(world, "wrong")
    (session,) = world.sessions.all.values()
    assert (session.authenticated_at, world.guesses.failures) == (began, 1)


def test_with_two_step_the_code_renews_the_session() -> None:
    ada = account()
    world = World(ada)
    signed_in(world)
    ada.two_step = True
    world.later(days=1)
    sent = again(world)
    assert isinstance(sent, CodeSent)
    sign_in_with_code(SignInWithCode(Secret(sent.challenge), CODE), world.ports)
    (session,) = world.sessions.all.values()
    assert (session.authenticated_at, session.methods) == (world.time, ["pwd", "otp", "mfa"])


def test_a_session_that_has_ended_is_not_renewed() -> None:
    ada = account()
    world = World(ada)
    signed_in(world)
    end_sessions(EndSessions(ada.user_id), world.ports)
    with pytest.raises(InvalidRefreshToken):
        again(world)


class TestAdministrators:
    """With a second factor, and without."""

    def test_without_two_step_they_are_told_so_at_sign_in(self) -> None:
        assert signed_in(World(account())).two_step_missing is True

    def test_nobody_else_is_told(self) -> None:
        ada = account()
        ada.roles = ()
        assert signed_in(World(ada)).two_step_missing is False

    def test_where_it_is_required_they_administer_only_after_the_code(self) -> None:
        ada = account()
        world = World(ada, admins_need_two_step=True)
        pair = signed_in(world)
        assert (pair.access_token, pair.two_step_missing) == ("", True)
        assert refresh(Refresh(Secret(pair.refresh_token)), world.ports).access_token == ""
        ada.two_step = True
        code = sign_in_with_code(SignInWithCode(Secret(challenged(world)), CODE), world.ports)
        assert (code.access_token, code.two_step_missing) == ("admin", False)


@pytest.mark.parametrize("methods", [[], ["guess"]])
def test_a_session_is_made_of_known_methods(methods: list[str]) -> None:
    now = World().time
    with pytest.raises(ValueError, match="methods"):
        Session(UUID(int=1), UUID(int=2), "", methods, "", "", now, now, now)


def test_ending_a_session_takes_its_owner_and_works_once() -> None:
    ada = account()
    world = World(ada)
    signed_in(world)
    (session,) = world.sessions.all.values()
    with pytest.raises(SessionNotFound):
        end_session(EndSession(account().user_id, session.id), world.ports)
    end_session(EndSession(ada.user_id, session.id), world.ports)
    with pytest.raises(SessionNotFound):
        end_session(EndSession(ada.user_id, session.id), world.ports)


def test_signing_out_works_any_number_of_times() -> None:
    ada = account()
    world = World(ada)
    signed_in(world)
    (session,) = world.sessions.all.values()
    for _ in range(2):
        sign_out(SignOut(ada.user_id, session.id), world.ports)
    assert session.ended_at


def test_signing_out_everywhere_ends_all_of_ones_sessions() -> None:
    ada = account()
    world = World(ada)
    signed_in(world)
    signed_in(world)
    end_sessions(EndSessions(ada.user_id), world.ports)
    assert all(session.ended_at for session in world.sessions.all.values())


class TestWhatHappensToAnAccount:
    """In the transaction in which it happens."""

    @pytest.fixture
    def ada(self) -> Account:
        return account()

    @pytest.fixture
    def world(self, ada: Account) -> World:
        """Ada is signed in twice, and somebody else once."""
        bob = replace(account(), email="bob@example.com")
        world = World(ada, bob)
        for email in (ada.email, ada.email, bob.email):
            sign_in(given(PASSWORD, email), world.ports)
        return world

    def live(self, world: World, user_id: UUID) -> list[Session]:
        return [one for one in world.sessions.all.values() if one.user_id == user_id and not one.ended_at]

    def test_whoever_is_deactivated_is_signed_out_everywhere(self, world: World, ada: Account) -> None:
        end_sessions_of_the_inactive(UserDeactivated(ada.user_id), world.ports)
        assert self.live(world, ada.user_id) == []

    def test_whoever_is_deleted_is_signed_out_everywhere(self, world: World, ada: Account) -> None:
        end_sessions_of_the_deleted(UserDeleted(ada.user_id), world.ports)
        assert self.live(world, ada.user_id) == []

    def test_whoever_an_admin_signs_out_is_signed_out_everywhere(self, world: World, ada: Account) -> None:
        end_sessions_of_the_signed_out(UserSignedOut(ada.user_id), world.ports)
        assert self.live(world, ada.user_id) == []

    def test_a_changed_password_keeps_the_session_that_changed_it_and_no_other(
        self, world: World, ada: Account
    ) -> None:
        here, _ = self.live(world, ada.user_id)
        end_other_sessions(PasswordChanged(ada.user_id, ada.email, "Ada", "en", here.id), world.ports)
        assert self.live(world, ada.user_id) == [here]

    def test_a_password_changed_by_a_link_keeps_no_session(self, world: World, ada: Account) -> None:
        end_other_sessions(PasswordChanged(ada.user_id, ada.email, "Ada", "en"), world.ports)
        assert self.live(world, ada.user_id) == []

    def test_changed_roles_refuse_the_tokens_issued_before_and_keep_the_sessions(
        self, world: World, ada: Account
    ) -> None:
        refuse_tokens_with_old_roles(UserRolesChanged(ada.user_id, ["admin"]), world.ports)
        assert [one.generation for one in self.live(world, ada.user_id)] == [2, 2]

    def test_nobody_else_is_signed_out(self, world: World, ada: Account) -> None:
        refuse_tokens_with_old_roles(UserRolesChanged(ada.user_id, ["admin"]), world.ports)
        end_other_sessions(PasswordChanged(ada.user_id, ada.email, "Ada", "en"), world.ports)
        end_sessions_of_the_inactive(UserDeactivated(ada.user_id), world.ports)
        end_sessions_of_the_deleted(UserDeleted(ada.user_id), world.ports)
        (bob,) = [one for one in world.sessions.all.values() if one.user_id != ada.user_id]
        assert (bob.ended_at, bob.generation) == (None, 1)


def test_messages_show_no_secret() -> None:
    """Nothing secret in logs, exceptions, reprs."""
    world = World(account())
    assert PASSWORD not in repr(given(PASSWORD))
    assert "first" not in repr(signed_in(world))
    assert PASSWORD not in repr(account())
