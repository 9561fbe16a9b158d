"""The own account over HTTP: what needs a password or a link."""

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
from backend.contexts.users.domain.errors import EmailTaken, InvalidLink, UsernameTaken, WrongPassword
from backend.contexts.users.infrastructure import schemas
from backend.contexts.users.infrastructure.routes import register, show_me, update_me
from backend.kernel.http.answers import expected_version, json_response
from backend.kernel.http.api import bus
from backend.kernel.http.commands import accepts_command, dispatched
from backend.kernel.http.guards import public, signed_in, signed_in_caller
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.messages.message import Command
from backend.kernel.messages.refusals import TooManyAttempts

blueprint = Blueprint("account", __name__, description="The own account: address, password, links by mail")


@blueprint.route("/auth/register")
class Registration(MethodView):
    """Becoming a user."""

    @public
    @blueprint.arguments(schemas.NewUser)
    @accepts_command
    @blueprint.response(201, schemas.UserSchema)
    @refuses(EmailTaken, UsernameTaken)
    def post(self, new_user: dict[str, Any]) -> Response:
        """Register: the same as POST /users"""
        return register(new_user)


@blueprint.route("/auth/me")
class Account(MethodView):
    """The caller."""

    @signed_in
    @blueprint.response(200, schemas.UserSchema)
    def get(self) -> Response:
        """Show the own profile: the same as GET /users/me"""
        return show_me()


@blueprint.route("/auth/profile")
class Profile(MethodView):
    """What the caller says about themself."""

    @signed_in
    @blueprint.arguments(schemas.ProfileChanges)
    @accepts_command
    @blueprint.response(200, schemas.UserSchema)
    @refuses(UsernameTaken)
    def put(self, changes: dict[str, Any]) -> Response:
        """Change the own profile: the same as PATCH /users/me"""
        return update_me(changes)


@blueprint.route("/auth/change-password")
class PasswordChange(MethodView):
    """Another password."""

    @signed_in
    @blueprint.arguments(schemas.PasswordChange)
    @accepts_command
    @blueprint.response(204)
    @refuses(WrongPassword, TooManyAttempts)
    def put(self, passwords: dict[str, Any]) -> Response:
        """Change the own password

        Every other session ends, and a notice is mailed.
        """
        known = signed_in_caller()
        return dispatched(
            ChangePassword(known.user_id, known.session_id, expected_version=expected_version(), **passwords)
        )


@blueprint.route("/auth/forgot-password")
class PasswordRequest(MethodView):
    """A way back for somebody who forgot the password."""

    @public
    @blueprint.arguments(schemas.Address)
    @blueprint.response(202, schemas.MailOnItsWay)
    def post(self, address: dict[str, Any]) -> Response:
        """Ask for a link that resets the password

        The answer is the same whether anybody has the address. The link is good once, for 15 minutes;
        an account gets at most 5 an hour.
        """
        return _mail_promised(RequestPasswordReset(address["email"]))


@blueprint.route("/auth/reset-password")
class PasswordReset(MethodView):
    """Another password for somebody who got a link."""

    @public
    @blueprint.arguments(schemas.PasswordReset)
    @blueprint.response(204)
    @refuses(InvalidLink)
    def post(self, reset: dict[str, Any]) -> Response:
        """Set a new password with a link's token

        Every session ends. Where two-step sign-in is on, it stays on.
        """
        bus().execute(ResetPassword(**reset))
        return Response(status=204)


@blueprint.route("/auth/verify-email")
class EmailVerification(MethodView):
    """A proof that somebody reads an address."""

    @public
    @blueprint.arguments(schemas.LinkToken)
    @blueprint.response(204)
    @refuses(InvalidLink, EmailTaken)
    def post(self, link: dict[str, Any]) -> Response:
        """Prove an address with a link's token

        The address of a registration, or the new one that was asked for at /auth/change-email.
        """
        bus().execute(VerifyEmail(**link))
        return Response(status=204)


@blueprint.route("/auth/resend-verification")
class VerificationRequest(MethodView):
    """Another link to prove an address with."""

    @public
    @blueprint.arguments(schemas.Address)
    @blueprint.response(202, schemas.MailOnItsWay)
    def post(self, address: dict[str, Any]) -> Response:
        """Ask for another link that proves the address

        The answer is the same whether anybody waits for one. The link ends the one before.
        """
        return _mail_promised(RequestVerification(address["email"]))


@blueprint.route("/auth/change-email")
class EmailChange(MethodView):
    """Another address."""

    @signed_in
    @blueprint.arguments(schemas.EmailChange)
    @blueprint.response(202, schemas.MailOnItsWay)
    @refuses(WrongPassword, TooManyAttempts)
    def put(self, change: dict[str, Any]) -> Response:
        """Ask for another address

        A link goes to the new address, a notice to the old one. The address changes when the link's token
        reaches /auth/verify-email.
        """
        bus().execute(ChangeEmail(signed_in_caller().user_id, **change))
        return _on_its_way()


@blueprint.route("/auth/two-step")
class TwoStep(MethodView):
    """Whether signing in takes a code by mail as well."""

    @signed_in
    @blueprint.arguments(schemas.TwoStep)
    @blueprint.response(204)
    @refuses(WrongPassword, TooManyAttempts)
    def put(self, wanted: dict[str, Any]) -> Response:
        """Switch two-step sign-in on or off"""
        bus().execute(SwitchTwoStep(signed_in_caller().user_id, **wanted))
        return Response(status=204)


def _mail_promised(command: Command) -> Response:
    """A worker looks whether anybody is to get the mail: this answer cannot tell by its time."""
    bus().dispatch(command, uuid7())
    return _on_its_way()


def _on_its_way() -> Response:
    return json_response({"detail": "If the address needs a mail, one is on its way."}, 202)
