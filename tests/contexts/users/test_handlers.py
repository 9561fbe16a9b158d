"""What the users handlers do, with every port in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from backend.contexts.auth.domain.events import PendingAccountUsed, UnverifiedSignIn
from backend.contexts.users.application.commands import (
    ActivateUser,
    ChangeEmail,
    ChangePassword,
    CreateAdmin,
    CreateUser,
    DeactivateUser,
    DeleteUser,
    RequestPasswordReset,
    RequestVerification,
    ResetPassword,
    SetRoles,
    SignOutUser,
    SwitchTwoStep,
    UpdateProfile,
    VerifyEmail,
)
from backend.contexts.users.application.handlers import (
    activate_user,
    change_email,
    change_password,
    complete_registration,
    create_admin,
    create_user,
    deactivate_user,
    delete_user,
    request_password_reset,
    request_verification,
    reset_password,
    send_fresh_link,
    set_roles,
    sign_out_user,
    switch_two_step,
    update_profile,
    verify_email,
)
from backend.contexts.users.domain.errors import (
    EmailTaken,
    InvalidLink,
    LastAdmin,
    UsernameTaken,
    UserNotFound,
)
from backend.contexts.users.domain.events import (
    EmailChanged,
    EmailChangeNoticed,
    EmailChangeRequested,
    EmailVerificationRequested,
    EmailVerified,
    PasswordChanged,
    PasswordResetRequested,
    TakenEmailRegistered,
    TwoStepChanged,
    UserActivated,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserSignedOut,
    UserUpdated,
)
from backend.contexts.users.domain.user import PersonName
from backend.kernel.messages.refusals import Invalid, StaleVersion, TooManyAttempts, WrongPassword
from backend.kernel.messages.secret import Secret
from tests.contexts.users.fakes import World

ADA, EVE, ROOT = UUID(int=1), UUID(int=2), UUID(int=3)
EMAIL, OLD, NEW = "ada@example.com", Secret("correct horse battery"), Secret("staple of the horse")
HERE = UUID(int=11)


def registration(user_id: UUID = ADA, email: str = EMAIL, **fields: Any) -> CreateUser:
    return CreateUser(user_id, PersonName("Ada"), email, fields.pop("password", OLD), **fields)


@pytest.fixture
def world() -> World:
    """Ada has an account; nothing that happened before is left to tell."""
    world = World()
    create_user(registration(username="Ada"), world.ports)
    world.events_of(ADA)
    return world


@pytest.fixture
def strict_world() -> World:
    """Nobody has an account, and verification is required."""
    return World(verification_required=True)


def token_of(world: World, user_id: UUID, kind: type[Any] = EmailVerificationRequested) -> Secret:
    (token,) = [event.token for event in world.events_of(user_id) if isinstance(event, kind)]
    assert isinstance(token, Secret)
    return token


def test_creating_a_user_says_so_and_asks_for_a_proof_of_the_address() -> None:
    world = World()
    create_user(registration(username="Ada", language="es"), world.ports)
    created, asked = world.events_of(ADA)
    assert created == UserCreated(ADA, EMAIL, "Ada", "Ada")
    assert isinstance(asked, EmailVerificationRequested)
    assert (asked.email, asked.language) == (EMAIL, "es")


def test_a_password_that_is_the_username_is_refused() -> None:
    with pytest.raises(Invalid):
        create_user(registration(username="ada-lovelace", password=Secret("Ada-Lovelace")), World().ports)


def test_an_admin_made_by_an_operator_is_verified_and_administers() -> None:
    world = World()
    create_admin(CreateAdmin(ROOT, PersonName("Root"), "root@example.com", OLD), world.ports)
    root = world.users.get(ROOT)
    assert (root.email_verified, root.is_active_admin) == (True, True)
    assert world.events_of(ROOT) == [
        UserCreated(ROOT, "root@example.com", "Root"),
        UserRolesChanged(ROOT, ["admin"]),
        EmailVerified(ROOT),
    ]


def test_a_profile_changes_in_the_fields_present(world: World) -> None:
    update_profile(UpdateProfile(ADA, {"age": 36}), world.ports)
    assert (world.users.get(ADA).age, world.users.get(ADA).name) == (36, "Ada")
    assert world.events_of(ADA) == [UserUpdated(ADA)]


def test_a_change_for_another_version_is_refused(world: World) -> None:
    with pytest.raises(StaleVersion):
        update_profile(UpdateProfile(ADA, {"age": 36}, expected_version=7), world.ports)


def test_a_username_that_another_user_has_cannot_be_taken(world: World) -> None:
    create_user(registration(EVE, "eve@example.com"), world.ports)
    with pytest.raises(UsernameTaken):
        update_profile(UpdateProfile(EVE, {"username": "ADA"}), world.ports)


def test_a_deleted_user_is_gone(world: World) -> None:
    ada = world.users.get(ADA)
    delete_user(DeleteUser(ADA), world.ports)
    with pytest.raises(UserNotFound):
        world.users.get(ADA)
    assert ada.pull_events() == [UserDeleted(ADA)]


def test_an_account_is_deactivated_and_activated_again(world: World) -> None:
    deactivate_user(DeactivateUser(ADA), world.ports)
    assert world.users.get(ADA).is_active is False
    activate_user(ActivateUser(ADA), world.ports)
    assert world.users.get(ADA).is_active is True
    assert world.events_of(ADA) == [UserDeactivated(ADA), UserActivated(ADA)]


def test_signing_a_user_out_leaves_the_account_as_it_is(world: World) -> None:
    sign_out_user(SignOutUser(ADA), world.ports)
    assert world.users.get(ADA).is_active is True
    assert world.events_of(ADA) == [UserSignedOut(ADA)]


def test_new_roles_take_the_place_of_the_old_ones(world: World) -> None:
    set_roles(SetRoles(ADA, ["admin"]), world.ports)
    assert world.users.get(ADA).roles == ["admin"]
    assert world.events_of(ADA) == [UserRolesChanged(ADA, ["admin"])]


def test_the_last_active_admin_cannot_be_demoted_deactivated_or_deleted(world: World) -> None:
    set_roles(SetRoles(ADA, ["admin"]), world.ports)
    create_user(registration(EVE, "eve@example.com"), world.ports)
    set_roles(SetRoles(EVE, ["admin"]), world.ports)
    deactivate_user(DeactivateUser(EVE), world.ports)
    with pytest.raises(LastAdmin):
        set_roles(SetRoles(ADA, []), world.ports)
    with pytest.raises(LastAdmin):
        deactivate_user(DeactivateUser(ADA), world.ports)
    with pytest.raises(LastAdmin):
        delete_user(DeleteUser(ADA), world.ports)
    activate_user(ActivateUser(EVE), world.ports)
    set_roles(SetRoles(ADA, []), world.ports)
    assert world.users.get(ADA).roles == []


def test_changing_the_password_says_in_which_session_it_was_done(world: World) -> None:
    change_password(ChangePassword(ADA, HERE, OLD, NEW), world.ports)
    assert world.users.get(ADA).password_hash == "hash of staple of the horse"
    assert world.events_of(ADA) == [PasswordChanged(ADA, EMAIL, "Ada", "en", HERE)]
    assert world.attempts.failed[ADA] == 0


def test_wrong_old_passwords_are_counted_until_the_right_one_is_refused_too(world: World) -> None:
    for _ in range(world.attempts.most):
        with pytest.raises(WrongPassword):
            change_password(ChangePassword(ADA, HERE, Secret("wrong"), NEW), world.ports)
    with pytest.raises(TooManyAttempts):
        change_password(ChangePassword(ADA, HERE, OLD, NEW), world.ports)
    assert world.events_of(ADA) == []


def test_a_new_password_that_is_the_own_address_is_refused_and_counts_as_no_guess(world: World) -> None:
    with pytest.raises(Invalid) as refused:
        change_password(ChangePassword(ADA, HERE, OLD, Secret(EMAIL.upper())), world.ports)
    assert refused.value.errors[0].field == "new_password"
    assert world.attempts.failed == {}


def test_a_changed_password_ends_links_that_were_asked_for_with_the_old_one(world: World) -> None:
    change_email(ChangeEmail(ADA, "mallory@example.com", OLD), world.ports)
    token = token_of(world, ADA, EmailChangeRequested)
    change_password(ChangePassword(ADA, HERE, OLD, NEW), world.ports)
    with pytest.raises(InvalidLink):
        verify_email(VerifyEmail(token), world.ports)


def test_a_link_sets_a_new_password_once_and_in_no_session(world: World) -> None:
    request_password_reset(RequestPasswordReset(EMAIL), world.ports)
    token = token_of(world, ADA, PasswordResetRequested)
    reset_password(ResetPassword(token, NEW), world.ports)
    assert world.users.get(ADA).password_hash == "hash of staple of the horse"
    assert world.events_of(ADA) == [PasswordChanged(ADA, EMAIL, "Ada", "en", session_id=None), EmailVerified(ADA)]
    with pytest.raises(InvalidLink):
        reset_password(ResetPassword(token, OLD), world.ports)


def test_resetting_leaves_two_step_on(world: World) -> None:
    switch_two_step(SwitchTwoStep(ADA, enabled=True, password=OLD), world.ports)
    request_password_reset(RequestPasswordReset(EMAIL), world.ports)
    reset_password(ResetPassword(token_of(world, ADA, PasswordResetRequested), NEW), world.ports)
    assert world.users.get(ADA).two_step is True


def test_a_refused_new_password_does_not_use_the_link_up(world: World) -> None:
    request_password_reset(RequestPasswordReset(EMAIL), world.ports)
    token = token_of(world, ADA, PasswordResetRequested)
    with pytest.raises(Invalid):
        reset_password(ResetPassword(token, Secret(EMAIL)), world.ports)
    reset_password(ResetPassword(token, NEW), world.ports)


def test_a_forgotten_password_is_mailed_for_five_times_and_the_surplus_is_dropped(world: World) -> None:
    for _ in range(7):
        request_password_reset(RequestPasswordReset(EMAIL), world.ports)
    assert len(world.events_of(ADA)) == 5


def test_nobody_is_mailed_for_an_address_that_nobody_has(world: World) -> None:
    request_password_reset(RequestPasswordReset("nobody@example.com"), world.ports)
    request_verification(RequestVerification("nobody@example.com"), world.ports)
    assert world.events_of(ADA) == []


def test_a_link_proves_the_address_and_then_no_further_one_is_sent(world: World) -> None:
    request_verification(RequestVerification(EMAIL), world.ports)
    verify_email(VerifyEmail(token_of(world, ADA)), world.ports)
    assert world.users.get(ADA).email_verified is True
    assert world.events_of(ADA) == [EmailVerified(ADA)]
    request_verification(RequestVerification(EMAIL), world.ports)
    assert world.events_of(ADA) == []


def test_a_newer_link_ends_the_older_of_its_kind(world: World) -> None:
    request_verification(RequestVerification(EMAIL), world.ports)
    older = token_of(world, ADA)
    request_verification(RequestVerification(EMAIL), world.ports)
    with pytest.raises(InvalidLink):
        verify_email(VerifyEmail(older), world.ports)
    verify_email(VerifyEmail(token_of(world, ADA)), world.ports)


def test_another_address_counts_once_its_link_is_followed(world: World) -> None:
    change_email(ChangeEmail(ADA, "countess@example.com", OLD), world.ports)
    asked, noticed = world.events_of(ADA)
    assert isinstance(asked, EmailChangeRequested)
    assert isinstance(noticed, EmailChangeNoticed)
    assert (asked.email, noticed.email) == ("countess@example.com", EMAIL)
    assert world.users.get(ADA).email == EMAIL
    verify_email(VerifyEmail(asked.token), world.ports)
    ada = world.users.get(ADA)
    assert (ada.email, ada.email_verified) == ("countess@example.com", True)
    assert world.events_of(ADA) == [EmailChanged(ADA)]


def test_an_address_that_was_taken_meanwhile_is_not_taken_twice(world: World) -> None:
    change_email(ChangeEmail(ADA, "eve@example.com", OLD), world.ports)
    token = token_of(world, ADA, EmailChangeRequested)
    create_user(registration(EVE, "eve@example.com"), world.ports)
    with pytest.raises(EmailTaken):
        verify_email(VerifyEmail(token), world.ports)


def test_another_address_and_two_step_take_the_password(world: World) -> None:
    with pytest.raises(WrongPassword):
        change_email(ChangeEmail(ADA, "countess@example.com", NEW), world.ports)
    with pytest.raises(WrongPassword):
        switch_two_step(SwitchTwoStep(ADA, enabled=True, password=NEW), world.ports)
    assert world.attempts.failed[ADA] == 2
    assert world.events_of(ADA) == []


def test_two_step_is_switched_on_and_off(world: World) -> None:
    switch_two_step(SwitchTwoStep(ADA, enabled=True, password=OLD), world.ports)
    switch_two_step(SwitchTwoStep(ADA, enabled=False, password=OLD), world.ports)
    assert world.users.get(ADA).two_step is False
    assert world.events_of(ADA) == [TwoStepChanged(ADA, enabled=True), TwoStepChanged(ADA, enabled=False)]


def test_where_verification_is_required_an_account_waits_without_its_username(strict_world: World) -> None:
    create_user(registration(username="Ada"), strict_world.ports)
    assert (strict_world.users.get(ADA).pending, strict_world.users.get(ADA).username) == (True, None)
    verify_email(VerifyEmail(token_of(strict_world, ADA), OLD), strict_world.ports)
    assert (strict_world.users.get(ADA).pending, strict_world.users.get(ADA).username) == (False, "Ada")


def test_the_registration_whose_link_is_used_wins_and_the_others_are_gone(strict_world: World) -> None:
    create_user(registration(ADA, username="Ada"), strict_world.ports)
    create_user(registration(EVE, username="Ada"), strict_world.ports)
    first, second = token_of(strict_world, ADA), token_of(strict_world, EVE)
    eve = strict_world.users.get(EVE)
    verify_email(VerifyEmail(first, OLD), strict_world.ports)
    assert list(strict_world.users.by_id) == [ADA]
    assert eve.pull_events() == [UserDeleted(EVE)]
    with pytest.raises(UserNotFound):  # in PostgreSQL the link is gone as well: InvalidLink
        verify_email(VerifyEmail(second, OLD), strict_world.ports)


def test_the_link_of_a_registration_takes_its_password(strict_world: World) -> None:
    """Somebody else may have registered the address: the link proves the mailbox, not who registered."""
    create_user(registration(ADA), strict_world.ports)
    token = token_of(strict_world, ADA)
    with pytest.raises(Invalid) as absent:
        verify_email(VerifyEmail(token), strict_world.ports)
    assert (absent.value.code(), [error.field for error in absent.value.errors]) == ("validation_failed", ["password"])
    with pytest.raises(WrongPassword):
        verify_email(VerifyEmail(token, NEW), strict_world.ports)
    assert (strict_world.attempts.failed, strict_world.users.get(ADA).pending) == ({ADA: 1}, True)
    verify_email(VerifyEmail(token, OLD), strict_world.ports)
    assert strict_world.users.get(ADA).email_verified is True


def test_a_reset_verifies_the_address_and_deletes_other_registrations_of_it(strict_world: World) -> None:
    create_user(registration(ADA, username="Ada"), strict_world.ports)
    create_user(registration(EVE, username="Eve"), strict_world.ports)
    strict_world.events_of(EVE)
    request_password_reset(RequestPasswordReset(EMAIL), strict_world.ports)
    reset_password(ResetPassword(token_of(strict_world, EVE, PasswordResetRequested), NEW), strict_world.ports)
    (user,) = strict_world.users.by_id.values()
    assert (user.id, user.email_verified, user.pending, user.username) == (EVE, True, False, "Eve")
    assert user.password_hash == "hash of staple of the horse"


def test_whoever_uses_a_pending_account_completes_its_registration(strict_world: World) -> None:
    """Verification is no longer required."""
    create_user(registration(username="Ada"), strict_world.ports)
    complete_registration(PendingAccountUsed(ADA), strict_world.ports)
    ada = strict_world.users.get(ADA)
    assert (ada.pending, ada.email_verified, ada.username) == (False, False, "Ada")


def test_a_pending_account_does_not_take_the_address_of_another(strict_world: World) -> None:
    create_user(registration(ADA), strict_world.ports)
    create_user(registration(EVE), replace(strict_world.ports, verification_required=False))
    complete_registration(PendingAccountUsed(ADA), strict_world.ports)
    assert strict_world.users.get(ADA).pending is True


def test_a_username_taken_meanwhile_is_lost_but_not_the_account(strict_world: World) -> None:
    create_user(registration(ADA, username="Ada"), strict_world.ports)
    create_user(registration(EVE, "eve@example.com", username="ADA"), strict_world.ports)
    verify_email(VerifyEmail(token_of(strict_world, EVE), OLD), strict_world.ports)
    verify_email(VerifyEmail(token_of(strict_world, ADA), OLD), strict_world.ports)
    assert (strict_world.users.get(ADA).pending, strict_world.users.get(ADA).username) == (False, None)


def test_only_the_owner_of_a_taken_address_learns_of_a_registration(strict_world: World) -> None:
    create_user(registration(ADA, language="es"), strict_world.ports)
    verify_email(VerifyEmail(token_of(strict_world, ADA), OLD), strict_world.ports)
    strict_world.events_of(ADA)
    create_user(registration(EVE), strict_world.ports)
    assert strict_world.events_of(ADA) == [TakenEmailRegistered(ADA, EMAIL, "Ada", "es")]
    assert strict_world.events_of(EVE) == [UserCreated(EVE, EMAIL, "Ada")]
    assert strict_world.users.get(EVE).pending is True


def test_a_username_of_a_verified_account_is_told_whether_the_address_is_taken_or_not(strict_world: World) -> None:
    create_user(registration(ADA, username="Ada"), strict_world.ports)
    verify_email(VerifyEmail(token_of(strict_world, ADA), OLD), strict_world.ports)
    for email in (EMAIL, "eve@example.com"):
        with pytest.raises(UsernameTaken):
            create_user(registration(EVE, email, username="aDA"), strict_world.ports)


def test_a_right_password_of_an_unverified_account_sends_one_link_an_hour(strict_world: World) -> None:
    create_user(registration(), strict_world.ports)
    strict_world.events_of(ADA)
    send_fresh_link(UnverifiedSignIn(ADA), strict_world.ports)
    send_fresh_link(UnverifiedSignIn(ADA), strict_world.ports)
    verify_email(VerifyEmail(token_of(strict_world, ADA), OLD), strict_world.ports)
