"""The auth context over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import flask
from flask import Response
from flask.views import MethodView

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
from backend.contexts.auth.application.queries import ListSessions
from backend.contexts.auth.domain.errors import (
    InvalidCode,
    InvalidCredentials,
    InvalidRefreshToken,
    SessionNotFound,
)
from backend.contexts.auth.infrastructure import cookies, schemas
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.contexts.users.application.queries import AccountView, GetAccount
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import api, bus
from backend.kernel.http.caller import Caller, InvalidToken
from backend.kernel.http.cookies import CrossSite
from backend.kernel.http.guards import (
    admin_only,
    looks_for,
    once_signed_in,
    signed_in,
    signed_in_caller,
    without_token,
)
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.messages.refusals import Busy, NotFound, TooManyAttempts, WrongPassword
from backend.kernel.messages.secret import Secret

blueprint = Blueprint("auth", __name__, description="Signing in and sessions")


def sign_in(credentials: dict[str, Any]) -> Response:
    """Sign in; answer with tokens, or with a challenge."""
    return _answered(bus().execute(SignIn(**credentials)))


def refresh(token: Secret) -> Response:
    """Exchange a refresh token."""
    return _answered(bus().execute(Refresh(token)))


@blueprint.route("/auth/login")
class SignInView(MethodView):
    """Sign-in."""

    @without_token
    @blueprint.arguments(schemas.Credentials)
    @blueprint.doc(parameters=[schemas.IN_COOKIES])
    @blueprint.response(200, schemas.SIGNED_IN_OR_CODE_SENT, headers=schemas.COOKIES)
    @refuses(InvalidCredentials, TooManyAttempts, Busy)
    def post(self, credentials: dict[str, Any]) -> Response:
        """Sign in

        With two-step sign-in on, the answer is a challenge, and you get a code by mail.
        """
        return sign_in(credentials)


@blueprint.route("/auth")
class ShortSignInView(MethodView):
    """Sign-in, at the shorter address."""

    @without_token
    @blueprint.doc(operationId="auth.signIn", parameters=[schemas.IN_COOKIES])
    @blueprint.arguments(schemas.Credentials)
    @blueprint.response(200, schemas.SIGNED_IN_OR_CODE_SENT, headers=schemas.COOKIES)
    @refuses(InvalidCredentials, TooManyAttempts, Busy)
    def post(self, credentials: dict[str, Any]) -> Response:
        """Sign in: the same as POST /auth/login"""
        return sign_in(credentials)


@blueprint.route("/auth/reauthenticate")
class ReauthenticationView(MethodView):
    """Reauthentication in the same session."""

    @signed_in
    @blueprint.arguments(schemas.Password)
    @blueprint.response(200, schemas.SIGNED_IN_OR_CODE_SENT, headers=schemas.COOKIES)
    @refuses(WrongPassword, TooManyAttempts, Busy)
    def post(self, given: dict[str, Any]) -> Response:
        """Confirm your password again

        The answer has new tokens of the same session, whose `auth_time` is now. With two-step sign-in on, it is a
        challenge, and /auth/verify-code has the tokens. DELETE /users/me and a change of the username need this, at
        most 10 minutes before.
        """
        known = signed_in_caller()
        return _answered(bus().execute(Reauthenticate(known.user_id, known.session_id, **given)))


@blueprint.route("/auth/verify-code")
class CodeView(MethodView):
    """The second step of a sign-in."""

    @without_token
    @blueprint.arguments(schemas.ChallengeAnswer)
    @blueprint.doc(parameters=[schemas.IN_COOKIES])
    @blueprint.response(200, schemas.SIGNED_IN, headers=schemas.COOKIES)
    @refuses(InvalidCode, TooManyAttempts)
    def post(self, answer: dict[str, Any]) -> Response:
        """Complete a sign-in or a reauthentication with the mailed code

        A code works once, for 5 minutes. A challenge allows 5 attempts.
        """
        return _answered(bus().execute(SignInWithCode(**answer)))


@blueprint.route("/auth/resend-code")
class ResendView(MethodView):
    """Request for another code."""

    @without_token
    @blueprint.arguments(schemas.ChallengeName)
    @blueprint.response(202, schemas.CodeOnItsWay)
    @refuses(InvalidCode, TooManyAttempts)
    def post(self, name: dict[str, Any]) -> Response:
        """Request another code for the same sign-in

        At most one a minute. The new code replaces the earlier one; the challenge still expires at the same time.
        """
        bus().execute(ResendCode(**name))
        return json_response({"detail": "Another code is on its way."}, 202)


@blueprint.route("/auth/refresh")
class RefreshView(MethodView):
    """Exchange of a refresh token."""

    @without_token
    @cookies.refreshed_by_cookie(refresh)
    @blueprint.arguments(schemas.RefreshRequest, required=False)
    @blueprint.response(200, schemas.SIGNED_IN, headers=schemas.COOKIES)
    @blueprint.doc(responses={401: {"headers": schemas.COOKIES}})
    @refuses(InvalidRefreshToken, CrossSite)
    def post(self, given: dict[str, Any]) -> Response:
        """Exchange a refresh token for new tokens

        A refresh token works once. If it is sent again within 30 seconds, the answer has the same successor. If it is
        sent again later, the session ends: somebody has a copy of the token. Without a body, the token is taken from
        its cookie, and the new ones are put into cookies.
        """
        return refresh(given["refresh_token"])


@blueprint.route("/auth/logout")
class SignOutView(MethodView):
    """Sign-out."""

    @once_signed_in
    @blueprint.response(204, headers=schemas.COOKIES)
    def post(self) -> Response:
        """Sign out: end this session"""
        known = signed_in_caller()
        bus().execute(SignOut(known.user_id, known.session_id))
        return cookies.clear_if_sent(Response(status=204))


@blueprint.route("/auth/logout-all")
class SignOutEverywhereView(MethodView):
    """Sign-out everywhere."""

    @signed_in
    @blueprint.response(204, headers=schemas.COOKIES)
    def post(self) -> Response:
        """Sign out everywhere: end every one of your sessions"""
        bus().execute(EndSessions(signed_in_caller().user_id))
        return cookies.clear_if_sent(Response(status=204))


@blueprint.route("/auth/sessions")
class SessionCollection(MethodView):
    """The caller's sessions."""

    @signed_in
    @blueprint.response(200, schemas.SessionList)
    def get(self) -> Response:
        """List your sessions"""
        known = signed_in_caller()
        return json_response({"items": bus().ask(ListSessions(known.user_id, known.session_id), fresh=True)})


@blueprint.route("/auth/sessions/<uuid:session_id>")
class SessionItem(MethodView):
    """One of the caller's sessions."""

    @signed_in
    @blueprint.response(204)
    @refuses(SessionNotFound)
    def delete(self, session_id: UUID) -> Response:
        """End one of your sessions"""
        bus().execute(EndSession(signed_in_caller().user_id, session_id))
        return Response(status=204)


def _account(user_id: UUID) -> AccountView:
    found = bus().ask(GetAccount(user_id), fresh=True)
    if found is None:
        raise NotFound
    return found


@blueprint.route("/users/<uuid:user_id>/sessions")
class SessionsOfUser(MethodView):
    """The sessions of a user, for administrators."""

    @admin_only
    @looks_for(_account)
    @blueprint.response(200, schemas.SessionList)
    def get(self, user_id: UUID) -> Response:
        """List the sessions of a user

        The active ones, the most recently used first.
        """
        return json_response({"items": bus().ask(ListSessions(user_id, signed_in_caller().session_id), fresh=True)})


@blueprint.route("/auth/validate-token")
class TokenCheck(MethodView):
    """Validation of an access token."""

    @without_token
    @blueprint.arguments(schemas.TokenToCheck)
    @blueprint.response(200, schemas.TokenValidity)
    def post(self, given: dict[str, Any]) -> Response:
        """Validate an access token"""
        return json_response(_validity_of(given["access_token"]))


@blueprint.route("/auth/verify")
class OwnTokenCheck(MethodView):
    """Validation of the caller's access token."""

    @signed_in
    @blueprint.response(200, schemas.TokenValidity)
    def get(self) -> Response:
        """Validate your access token"""
        return json_response(_validity(signed_in_caller()))


def jwks_blueprint(keys: SigningKeys) -> flask.Blueprint:
    """The public keys that verify access tokens. A symmetric algorithm has none."""
    root = flask.Blueprint("jwks", __name__)
    body = {"keys": keys.public()}

    def show() -> Response:
        return json_response(body, headers={"Cache-Control": "public, max-age=300"})

    if not keys.symmetric:
        root.add_url_rule("/.well-known/jwks.json", view_func=show)
    return root


def _answered(answer: TokenPair | CodeSent) -> Response:
    """The tokens are in the body, or in cookies where the client wants them there."""
    if isinstance(answer, CodeSent):
        return json_response(answer)
    body = {"expires_in": answer.expires_in, **({"two_step_missing": True} if answer.two_step_missing else {})}
    if cookies.are_wanted():
        return cookies.put(answer, json_response(body))
    tokens = {name: getattr(answer, name) for name in ("access_token", "token_type", "refresh_token")}
    return json_response({**tokens, **body})


def _validity_of(access_token: Secret) -> dict[str, Any]:
    try:
        return _validity(api().authenticate(access_token.value))
    except InvalidToken:
        return {"is_valid": False}


def _validity(caller: Caller) -> dict[str, Any]:
    return {"is_valid": True, "user_id": caller.user_id, "exp": caller.token_expires_at}
