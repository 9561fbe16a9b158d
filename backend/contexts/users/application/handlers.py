"""Handlers of the users context, one function per message.

Hashing comes before the first use of the transaction: it is slow, and no connection or lock is held meanwhile.
The addresses in commands were normalized before they were sent.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

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
from backend.contexts.users.application.ports import UsersPorts
from backend.contexts.users.domain import rules
from backend.contexts.users.domain.errors import LastAdmin, UsernameTaken
from backend.contexts.users.domain.links import Occasion, Purpose
from backend.contexts.users.domain.user import User
from backend.kernel.messages.authority import admin, oneself, oneself_or_admin
from backend.kernel.messages.refusals import FieldError, Invalid, WrongPassword, require_version
from backend.kernel.messages.registry import Handlers, Kind
from backend.kernel.messages.secret import Secret
from backend.kernel.messages.values import EmailAddress
from backend.roles import Role

_VERIFYING = (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL)

handlers = Handlers[UsersPorts]("users", audited=True)


@handlers.on(CreateUser, kind=Kind.HASHING, anonymous=True)
def create_user(command: CreateUser, ports: UsersPorts) -> None:
    """Where verification is required, only the owner of the address learns that it was taken.

    The same rows are written for a taken address and a free one, so that the time reveals nothing either:
    a pending account and a link. For a taken address the link is not mailed.
    """
    user = _registered(command, ports, pending=ports.verification_required)
    owner = _owner_to_tell(user, ports) if user.pending else None
    ports.users.add(user)
    token = ports.links.issue(user.id, Purpose.VERIFY_EMAIL, Occasion.REGISTRATION, user.email)
    if token and owner:
        owner.tell_of_registration()
    elif token:
        user.send_verification(token)


@handlers.on(CreateAdmin)
def create_admin(command: CreateAdmin, ports: UsersPorts) -> None:
    """The operator's word verifies the address."""
    user = _registered(CreateUser(command.user_id, command.name, command.email, command.password), ports)
    user.set_roles([Role.ADMIN], ports.accepted_at)
    user.verify_email()
    ports.users.hold_address(user.email)
    ports.users.add(user)
    _remove_rivals(user, ports)


@handlers.on(UpdateProfile, may=oneself)
def update_profile(command: UpdateProfile, ports: UsersPorts) -> None:
    """Only the given fields change."""
    user = _expected(command.user_id, command.expected_version, ports)
    user.update(command.changes, ports.accepted_at)
    ports.users.save(user)


@handlers.on(DeleteUser, spreads=True, may=oneself_or_admin)
def delete_user(command: DeleteUser, ports: UsersPorts) -> None:
    """Delete the profile, end every session, free the address."""
    user = _expected(command.user_id, command.expected_version, ports)
    _keep_an_admin(user, ports)
    _remove(user, ports)


@handlers.on(ActivateUser, may=admin)
def activate_user(command: ActivateUser, ports: UsersPorts) -> None:
    """Ended sessions stay ended."""
    _expected(command.user_id, command.expected_version, ports).activate(ports.accepted_at)


@handlers.on(DeactivateUser, spreads=True, may=admin)
def deactivate_user(command: DeactivateUser, ports: UsersPorts) -> None:
    """Every session ends at once."""
    user = _expected(command.user_id, command.expected_version, ports)
    _keep_an_admin(user, ports)
    user.deactivate(ports.accepted_at)


@handlers.on(SetRoles, spreads=True, may=admin)
def set_roles(command: SetRoles, ports: UsersPorts) -> None:
    """Access tokens contain the roles, so earlier ones are refused."""
    user = _expected(command.user_id, command.expected_version, ports)
    if Role.ADMIN not in command.roles:
        _keep_an_admin(user, ports)
    user.set_roles(command.roles, ports.accepted_at)


@handlers.on(SignOutUser, spreads=True, may=admin)
def sign_out_user(command: SignOutUser, ports: UsersPorts) -> None:
    """End every session. The account stays active, and its user may sign in again."""
    _expected(command.user_id, command.expected_version, ports).sign_out()


@handlers.on(ChangePassword, kind=Kind.HASHING, spreads=True, may=oneself)
def change_password(command: ChangePassword, ports: UsersPorts) -> None:
    """Keep the session that asked; end every other one."""
    seen = ports.users.peek(command.user_id)
    rules.password(command.new_password.value, unlike=seen.identity, field="new_password")
    _check_password(seen, command.old_password, ports)
    password_hash = ports.passwords.hash(command.new_password)
    user = _unchanged(seen, ports)
    require_version(user.version, command.expected_version)
    _set_password(user, password_hash, ports, command.session_id)


@handlers.on(ResetPassword)
def reset_password(command: ResetPassword, ports: UsersPorts) -> None:
    """Every session ends: the old password may be known to others. The link verifies the address, too."""
    seen = ports.users.peek(ports.links.find(command.token, Purpose.RESET_PASSWORD).user_id)
    rules.password(command.new_password.value, unlike=seen.identity, field="new_password")
    with ports.turn(seen.id):
        ports.links.find(command.token, Purpose.RESET_PASSWORD)  # another request may have used it meanwhile
        password_hash = ports.passwords.hash(command.new_password)
    ports.users.hold_address(seen.email)
    ports.links.use(command.token, Purpose.RESET_PASSWORD)
    user = ports.users.get(seen.id)
    _set_password(user, password_hash, ports)
    _verify_address(user, ports)


@handlers.on(RequestPasswordReset, anonymous=True)
def request_password_reset(command: RequestPasswordReset, ports: UsersPorts) -> None:
    """Requests beyond the hourly limit are dropped silently."""
    user = _holder_or_newest(EmailAddress(command.email), ports)
    token = ports.links.issue(user.id, Purpose.RESET_PASSWORD, Occasion.REQUEST, user.email) if user else None
    if user and token:
        user.send_password_reset(token)


@handlers.on(RequestVerification, anonymous=True)
def request_verification(command: RequestVerification, ports: UsersPorts) -> None:
    """Mail the newest of several registrations, and none once the address is verified."""
    user = _holder_or_newest(EmailAddress(command.email), ports)
    if user and not user.email_verified:
        _mail_verification(user, Occasion.REQUEST, ports)


@handlers.on(UnverifiedSignIn)
def send_fresh_link(event: UnverifiedSignIn, ports: UsersPorts) -> None:
    """A correct password, and only the verification is missing."""
    user = ports.users.get(event.user_id)
    if not user.email_verified:
        _mail_verification(user, Occasion.SIGN_IN, ports)


@handlers.within(PendingAccountUsed)
def complete_registration(event: PendingAccountUsed, ports: UsersPorts) -> None:
    """Verification is no longer required. An account in use must not stay pending: those are purged."""
    user = ports.users.get(event.user_id)
    if user.pending and ports.users.holder_of(user.email) is None:
        user.complete_registration()
        ports.users.save(user)
        _claim_wanted_username(user, ports)


@handlers.on(VerifyEmail)
def verify_email(command: VerifyEmail, ports: UsersPorts) -> None:
    """The reader of the mailbox gets the address. Other pending registrations of it are deleted.

    The link alone does not tell whose registration it is: somebody else may have registered the address, too. So
    that of a pending account takes the password of its registration.
    """
    link = ports.links.find(command.token, *_VERIFYING)
    seen = ports.users.peek(link.user_id)
    registers = link.purpose is Purpose.VERIFY_EMAIL and seen.pending
    if registers:
        _prove(seen, _required(command.password), ports)
    ports.users.hold_address(link.email or seen.email)
    ports.links.use(command.token, *_VERIFYING)
    user = _unchanged(seen, ports) if registers else ports.users.get(seen.id)
    if link.email is not None:
        user.change_email(link.email)
        ports.links.end(user.id, *Purpose)
    _verify_address(user, ports)


@handlers.on(ChangeEmail)
def change_email(command: ChangeEmail, ports: UsersPorts) -> None:
    """Whether the new address is taken shows only when its link is followed: nobody else may learn it."""
    user = _proven(command.user_id, command.password, ports)
    email = EmailAddress(command.email)
    token = ports.links.issue(user.id, Purpose.CHANGE_EMAIL, Occasion.REQUEST, email)
    if token:
        user.send_email_change(email, token)


@handlers.on(SwitchTwoStep)
def switch_two_step(command: SwitchTwoStep, ports: UsersPorts) -> None:
    """The password is required: two-step sign-in protects the account, or locks its owner out."""
    _proven(command.user_id, command.password, ports).switch_two_step(enabled=command.enabled)


def _registered(command: CreateUser, ports: UsersPorts, *, pending: bool = False) -> User:
    rules.password(command.password.value, unlike=(command.email, command.username, command.name.full))
    return User.register(
        command.user_id,
        command.name,
        EmailAddress(command.email),
        ports.passwords.hash(command.password),
        command,
        language=command.language,
        pending=pending,
    )


def _owner_to_tell(user: User, ports: UsersPorts) -> User | None:
    """The owner of the address that `user` wants to register. Usernames are public: a taken one is refused."""
    if user.wanted_username and ports.users.is_username_taken(user.wanted_username):
        raise UsernameTaken
    return ports.users.holder_of(user.email)


def _mail_verification(user: User, occasion: Occasion, ports: UsersPorts) -> None:
    token = ports.links.issue(user.id, Purpose.VERIFY_EMAIL, occasion, user.email)
    if token:
        user.send_verification(token)


def _holder_or_newest(email: EmailAddress, ports: UsersPorts) -> User | None:
    """The user with this address, or else the newest of its pending accounts."""
    return ports.users.holder_of(email) or next(iter(ports.users.waiting_for(email)), None)


def _verify_address(user: User, ports: UsersPorts) -> None:
    """The user has read the mailbox, and holds its address from now on. No other link is needed for that."""
    user.verify_email()
    ports.links.end(user.id, Purpose.VERIFY_EMAIL)
    ports.users.save(user)
    _remove_rivals(user, ports)
    _claim_wanted_username(user, ports)


def _claim_wanted_username(user: User, ports: UsersPorts) -> None:
    if user.wanted_username:
        with suppress(UsernameTaken):
            ports.users.claim_username(user)
        user.wanted_username = None


def _remove_rivals(user: User, ports: UsersPorts) -> None:
    for rival in ports.users.waiting_for(user.email):
        _remove(rival, ports)


def _remove(user: User, ports: UsersPorts) -> None:
    user.delete()
    ports.users.remove(user)


def _expected(user_id: UUID, version: int | None, ports: UsersPorts) -> User:
    user = ports.users.get(user_id)
    require_version(user.version, version)
    return user


def _keep_an_admin(user: User, ports: UsersPorts) -> None:
    if user.is_active_admin and ports.users.is_last_admin(user):
        raise LastAdmin


def _proven(user_id: UUID, password: Secret, ports: UsersPorts) -> User:
    seen = ports.users.peek(user_id)
    _prove(seen, password, ports)
    return _unchanged(seen, ports)


def _prove(user: User, password: Secret, ports: UsersPorts) -> None:
    """For a synchronous command. Its check queues with the sign-ins, so that the API stays quick."""
    with ports.attempts.turn(user.id):
        _check_password(user, password, ports)


def _required(password: Secret | None) -> Secret:
    if password is None:
        raise Invalid(errors=[FieldError("password", "Give the password of the registration.")])
    return password


def _check_password(user: User, password: Secret, ports: UsersPorts) -> None:
    ports.attempts.reserve(user.id)
    if not ports.passwords.verify(password, user.password_hash):
        raise WrongPassword
    ports.attempts.succeeded(user.id)


def _unchanged(seen: User, ports: UsersPorts) -> User:
    """The user to change, if the password that was checked is still the current one."""
    user = ports.users.get(seen.id)
    if user.password_version != seen.password_version:
        raise WrongPassword
    return user


def _set_password(user: User, password_hash: str, ports: UsersPorts, session_id: UUID | None = None) -> None:
    """End the links that somebody with the old password may have requested."""
    user.change_password(password_hash, session_id)
    ports.links.end(user.id, Purpose.RESET_PASSWORD, Purpose.CHANGE_EMAIL)
