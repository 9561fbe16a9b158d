"""The caller's account over HTTP: what needs a password or a mailed link."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask.views import MethodView
from uuid_utils.compat import uuid7

from backend.contexts.users.application.commands import (
    ChangeEmail,
    ChangePassword,
    RequestPasswordReset,
    RequestVerification,
    ResetPassword,
    SwitchTwoStep,
    VerifyEmail,
)
from backend.contexts.users.domain.errors import EmailTaken, InvalidLink, UsernameTaken
from backend.contexts.users.domain.user import ProfileChanges
from backend.contexts.users.infrastructure import schemas
from backend.contexts.users.infrastructure.routes import register, registrations, show_me, update_me
from backend.kernel.http.answers import expected_version, json_response
from backend.kernel.http.api import bus
from backend.kernel.http.commands import accepts_command, dispatched
from backend.kernel.http.guards import limited, signed_in, signed_in_caller, without_token
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.messages.message import Command
from backend.kernel.messages.refusals import (
    Busy,
    ReauthenticationRequired,
    TooManyAttempts,
    TooManyRequests,
    WrongPassword,
)

blueprint = Blueprint("account", __name__, description="Your account: address, password, mailed links")


@blueprint.route("/auth/register")
class Registration(MethodView):
    """Registration."""

    @without_token
    @blueprint.arguments(schemas.NewUser)
    @limited(registrations)
    @accepts_command
    @blueprint.response(201, schemas.UserSchema)
    @refuses(EmailTaken, UsernameTaken, TooManyRequests)
    def post(self, new_user: dict[str, Any]) -> Response:
        """Register: the same as POST /users"""
        return register(new_user)


@blueprint.route("/auth/me")
class Account(MethodView):
    """The caller."""

    @signed_in
    @blueprint.response(200, schemas.UserSchema)
    def get(self) -> Response:
        """Show your profile: the same as GET /users/me"""
        return show_me()


@blueprint.route("/auth/profile")
class Profile(MethodView):
    """The caller's profile."""

    @signed_in
    @blueprint.arguments(schemas.ProfileChanges)
    @accepts_command
    @blueprint.response(200, schemas.UserSchema)
    @refuses(UsernameTaken, ReauthenticationRequired)
    def put(self, changes: ProfileChanges) -> Response:
        """Change your profile: the same as PATCH /users/me"""
        return update_me(changes)


@blueprint.route("/auth/change-password")
class PasswordChange(MethodView):
    """Change of the password."""

    @signed_in
    @blueprint.arguments(schemas.PasswordChange)
    @accepts_command
    @blueprint.response(204)
    @refuses(WrongPassword, TooManyAttempts)
    def put(self, passwords: dict[str, Any]) -> Response:
        """Change your password

        Every other session ends, and you get a notice by mail.
        """
        me = signed_in_caller()
        return dispatched(
            ChangePassword(me.user_id, me.session_id, expected_version=expected_version(me.user_id), **passwords)
        )


@blueprint.route("/auth/forgot-password")
class PasswordRequest(MethodView):
    """Request for a link that resets the password."""

    @without_token
    @blueprint.arguments(schemas.Address)
    @blueprint.response(202, schemas.MailOnItsWay)
    def post(self, address: dict[str, Any]) -> Response:
        """Request a link that resets the password

        The answer is the same whether or not the address has an account. A link works once, for 15 minutes;
        an account gets at most 5 an hour.
        """
        return _mail_promised(RequestPasswordReset(address["email"]))


@blueprint.route("/auth/reset-password")
class PasswordReset(MethodView):
    """Reset of the password with a link."""

    @without_token
    @blueprint.arguments(schemas.PasswordReset)
    @blueprint.response(204)
    @refuses(InvalidLink, EmailTaken, Busy)
    def post(self, reset: dict[str, Any]) -> Response:
        """Set a new password with the token of a link

        Every session ends. The address is verified, and other registrations that wait for it are deleted. Two-step
        sign-in stays as it is.
        """
        bus().execute(ResetPassword(**reset))
        return Response(status=204)


@blueprint.route("/auth/verify-email")
class EmailVerification(MethodView):
    """Verification of an e-mail address."""

    @without_token
    @blueprint.arguments(schemas.Verification)
    @blueprint.response(204)
    @refuses(InvalidLink, WrongPassword, EmailTaken, TooManyAttempts, Busy)
    def post(self, link: dict[str, Any]) -> Response:
        """Verify an e-mail address with the token of a link

        The address of a registration, or the new one requested at /auth/change-email. Where verification is required,
        the link of a registration takes its password, too; a wrong one leaves the link valid. If it is lost, reset it:
        that verifies the address as well.
        """
        bus().execute(VerifyEmail(**link))
        return Response(status=204)


@blueprint.route("/auth/resend-verification")
class VerificationRequest(MethodView):
    """Request for another verification link."""

    @without_token
    @blueprint.arguments(schemas.Address)
    @blueprint.response(202, schemas.MailOnItsWay)
    def post(self, address: dict[str, Any]) -> Response:
        """Request another verification link

        The answer is the same whether or not an account waits for one. The new link replaces the earlier one.
        """
        return _mail_promised(RequestVerification(address["email"]))


@blueprint.route("/auth/change-email")
class EmailChange(MethodView):
    """Change of the e-mail address."""

    @signed_in
    @blueprint.arguments(schemas.EmailChange)
    @blueprint.response(202, schemas.MailOnItsWay)
    @refuses(WrongPassword, TooManyAttempts)
    def put(self, change: dict[str, Any]) -> Response:
        """Request a change of your e-mail address

        The new address gets a link, the old one a notice. The address changes when the token of the link
        is sent to /auth/verify-email.
        """
        bus().execute(ChangeEmail(signed_in_caller().user_id, **change))
        return _on_its_way()


@blueprint.route("/auth/two-step")
class TwoStep(MethodView):
    """Two-step sign-in: a password, then a mailed code."""

    @signed_in
    @blueprint.arguments(schemas.TwoStep)
    @blueprint.response(204)
    @refuses(WrongPassword, TooManyAttempts)
    def put(self, wanted: dict[str, Any]) -> Response:
        """Turn two-step sign-in on or off"""
        bus().execute(SwitchTwoStep(signed_in_caller().user_id, **wanted))
        return Response(status=204)


def _mail_promised(command: Command) -> Response:
    """A worker checks whether anybody gets the mail, so the time of this answer reveals nothing."""
    bus().dispatch(command, uuid7())
    return _on_its_way()


def _on_its_way() -> Response:
    return json_response({"detail": "If the address needs a mail, one is on its way."}, 202)
