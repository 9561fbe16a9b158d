"""The users context over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Response, request
from flask.views import MethodView

from backend.contexts.users.application.commands import (
    ActivateUser,
    CreateUser,
    DeactivateUser,
    DeleteUser,
    SetRoles,
    SignOutUser,
    UpdateProfile,
)
from backend.contexts.users.application.queries import GetUser, ListUsers, UserView
from backend.contexts.users.domain.errors import EmailTaken, LastAdmin, UsernameTaken, UserNotFound
from backend.contexts.users.domain.user import ProfileChanges
from backend.contexts.users.infrastructure import schemas
from backend.contexts.users.infrastructure.settings import UsersSettings
from backend.kernel.http.answers import expected_version, resource_response
from backend.kernel.http.api import api, bus
from backend.kernel.http.caller import Caller
from backend.kernel.http.commands import Collection, Resource, accepts_command, dispatched, operation_id
from backend.kernel.http.guards import (
    admin_only,
    limited,
    recently_authenticated,
    signed_in,
    signed_in_caller,
    without_token,
)
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.http.paging import Listing
from backend.kernel.limits import Limit, Use, network_of
from backend.kernel.messages.origin import current_origin
from backend.kernel.messages.refusals import ReauthenticationRequired, StaleVersion, TooManyRequests
from backend.languages import LANGUAGES

blueprint = Blueprint("users", __name__, description="Users and their profiles")
listing = Listing[UserView]("users")


def user_resource(user_id: UUID) -> Resource:
    """A user as the answer to a command."""
    return Resource(f"/users/{user_id}", GetUser(user_id))


def register(new_user: dict[str, Any]) -> Response:
    """Dispatch a registration. Where verification is required, the answer reveals nothing about the address."""
    language = request.accept_languages.best_match(LANGUAGES, LANGUAGES[0])
    return dispatched(
        CreateUser(operation_id(), language=language, **new_user),
        creates=Collection("/users", GetUser),
        as_operation=_verification_required,
    )


def registrations() -> Sequence[Use]:
    """What a registration counts for."""
    settings = api().settings.of(UsersSettings)
    per_address = Limit("registrations from a network", settings.registrations_per_address)
    in_all = Limit("registrations", settings.registrations)
    return (per_address, network_of(current_origin.get().ip)), (in_all, "")


def _verification_required() -> bool:
    return api().settings.of(UsersSettings).require_email_verification


def show_me() -> Response:
    """The caller's own profile."""
    return resource_response(bus().ask(GetUser(signed_in_caller().user_id)))


def update_me(changes: ProfileChanges) -> Response:
    """Dispatch changes of the caller's own profile."""
    user_id = signed_in_caller().user_id
    return dispatched(UpdateProfile(user_id, changes, expected_version(user_id)), updates=user_resource(user_id))


def delete(user_id: UUID) -> Response:
    """Dispatch the deletion of an account. Its owner can no longer sign in, so the handle alone gives the outcome."""
    return dispatched(DeleteUser(user_id, expected_version(user_id)), capability=True)


@blueprint.route("/users")
class UserCollection(MethodView):
    """All users."""

    @without_token
    @blueprint.arguments(schemas.NewUser)
    @limited(registrations)
    @accepts_command
    @blueprint.response(201, schemas.UserSchema)
    @refuses(EmailTaken, UsernameTaken, TooManyRequests)
    def post(self, new_user: dict[str, Any]) -> Response:
        """Create a user

        With `REQUIRE_EMAIL_VERIFICATION=true` the answer is always 202, and the operation succeeds whether the
        address was taken or not: only the mail to that address tells. Whoever holds the handle may read the operation;
        its `resource` is for those who are signed in.
        """
        return register(new_user)

    @admin_only
    @blueprint.arguments(schemas.UserFilter, location="query")
    @blueprint.response(200, schemas.UserPage)
    def get(self, wanted: dict[str, Any]) -> Response:
        """List users"""
        after = listing.after(wanted.pop("cursor", None))
        return listing.answer(bus().ask(ListUsers(after=after, **wanted)))


@blueprint.route("/users/me")
class Me(MethodView):
    """The caller."""

    @signed_in
    @blueprint.response(200, schemas.UserSchema)
    def get(self) -> Response:
        """Show your profile"""
        return show_me()

    @signed_in
    @blueprint.arguments(schemas.ProfileChanges)
    @accepts_command
    @blueprint.response(200, schemas.UserSchema)
    @refuses(UsernameTaken, ReauthenticationRequired)
    def put(self, changes: ProfileChanges) -> Response:
        """Change your profile

        Only the fields present change, as with PATCH; `null` clears an optional one. For `username`, sign in or
        reauthenticate at most 10 minutes before.
        """
        return update_me(changes)

    @signed_in
    @blueprint.arguments(schemas.ProfileChanges)
    @accepts_command
    @blueprint.response(200, schemas.UserSchema)
    @refuses(UsernameTaken, ReauthenticationRequired)
    def patch(self, changes: ProfileChanges) -> Response:
        """Change your profile

        Only the fields present change; `null` clears an optional one. For `username`, sign in or reauthenticate at
        most 10 minutes before.
        """
        return update_me(changes)

    @signed_in
    @recently_authenticated
    @accepts_command
    @blueprint.response(204)
    @refuses(LastAdmin, ReauthenticationRequired)
    def delete(self) -> Response:
        """Delete your account

        Sign in or reauthenticate at most 10 minutes before. Every session ends, and the address can be registered
        again. Whoever holds the operation's handle may read it.
        """
        return delete(signed_in_caller().user_id)


@blueprint.route("/users/<uuid:user_id>")
class UserItem(MethodView):
    """One user."""

    @signed_in
    @blueprint.response(200, {"anyOf": [schemas.UserSchema, schemas.PublicUserSchema]})
    @refuses(UserNotFound)
    def get(self, user_id: UUID) -> Response:
        """Show a user

        Users see themselves in full, and so do admins. Others see `id`, `name` and `created_at`.
        """
        return _shown_to(signed_in_caller(), bus().ask(GetUser(user_id)))

    @admin_only
    @accepts_command
    @blueprint.response(204)
    @refuses(UserNotFound, LastAdmin)
    def delete(self, user_id: UUID) -> Response:
        """Delete a user"""
        return delete(user_id)


@blueprint.route("/users/<uuid:user_id>/activate")
class UserActivation(MethodView):
    """Activation of a user."""

    @admin_only
    @accepts_command
    @blueprint.response(200, schemas.UserSchema)
    @refuses(UserNotFound, StaleVersion)
    def post(self, user_id: UUID) -> Response:
        """Activate a user"""
        return dispatched(ActivateUser(user_id, expected_version(user_id)), updates=user_resource(user_id))


@blueprint.route("/users/<uuid:user_id>/deactivate")
class UserDeactivation(MethodView):
    """Deactivation of a user."""

    @admin_only
    @accepts_command
    @blueprint.response(200, schemas.UserSchema)
    @refuses(UserNotFound, LastAdmin, StaleVersion)
    def post(self, user_id: UUID) -> Response:
        """Deactivate a user

        Every session of the user ends at once.
        """
        return dispatched(DeactivateUser(user_id, expected_version(user_id)), updates=user_resource(user_id))


@blueprint.route("/users/<uuid:user_id>/sessions")
class UserSessions(MethodView):
    """The sessions of a user."""

    @admin_only
    @accepts_command
    @blueprint.response(204)
    @refuses(UserNotFound)
    def delete(self, user_id: UUID) -> Response:
        """End every session of a user

        The user may sign in again.
        """
        return dispatched(SignOutUser(user_id, expected_version(user_id)))


@blueprint.route("/users/<uuid:user_id>/roles")
class UserRoles(MethodView):
    """The roles of a user."""

    @admin_only
    @blueprint.arguments(schemas.Roles)
    @accepts_command
    @blueprint.response(200, schemas.UserSchema)
    @refuses(UserNotFound, LastAdmin)
    def put(self, roles: list[str], user_id: UUID) -> Response:
        """Set a user's roles

        Earlier access tokens are refused from the next request on. A refresh returns tokens with the new roles.
        """
        return dispatched(SetRoles(user_id, roles, expected_version(user_id)), updates=user_resource(user_id))


def _shown_to(viewer: Caller, user: UserView) -> Response:
    if viewer.is_admin or viewer.user_id == user.id:
        return resource_response(user)
    if _verification_required() and not user.email_verified:
        raise UserNotFound
    return resource_response(user, part=user.public)
