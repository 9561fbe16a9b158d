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
    Refresh,
    ResendCode,
    SignIn,
    SignInWithCode,
    SignOut,
    TokenPair,
)
from backend.contexts.auth.application.queries import ListSessions
from backend.contexts.auth.domain.errors import (
    Busy,
    InvalidCode,
    InvalidCredentials,
    InvalidRefreshToken,
    SessionNotFound,
)
from backend.contexts.auth.infrastructure import schemas
from backend.contexts.auth.infrastructure.keys import SigningKeys
from backend.kernel.http.answers import json_response
from backend.kernel.http.api import api, bus
from backend.kernel.http.caller import Caller, InvalidToken
from backend.kernel.http.guards import once_signed_in, public, signed_in, signed_in_caller
from backend.kernel.http.openapi import Blueprint, refuses
from backend.kernel.messages.refusals import TooManyAttempts
from backend.kernel.messages.secret import Secret

blueprint = Blueprint("auth", __name__, description="Signing in and sessions")


def sign_in(credentials: dict[str, Any]) -> Response:
    """Tokens, or a challenge."""
    return _secret(bus().execute(SignIn(**credentials)))


@blueprint.route("/auth/login")
class SignInView(MethodView):
    """Signing in."""

    @public
    @blueprint.arguments(schemas.Credentials)
    @blueprint.response(200, schemas.SIGNED_IN_OR_CODE_SENT)
    @refuses(InvalidCredentials, TooManyAttempts, Busy)
    def post(self, credentials: dict[str, Any]) -> Response:
        """Sign in

        With two-step sign-in on, the answer is a challenge, and a code comes by mail.
        """
        return sign_in(credentials)


@blueprint.route("/auth")
class ShortSignInView(MethodView):
    """Signing in, at the shorter address."""

    @public
    @blueprint.arguments(schemas.Credentials)
    @blueprint.response(200, schemas.SIGNED_IN_OR_CODE_SENT)
    @refuses(InvalidCredentials, TooManyAttempts, Busy)
    def post(self, credentials: dict[str, Any]) -> Response:
        """Sign in: the same as POST /auth/login"""
        return sign_in(credentials)


@blueprint.route("/auth/verify-code")
class CodeView(MethodView):
    """The second step."""

    @public
    @blueprint.arguments(schemas.ChallengeAnswer)
    @blueprint.response(200, schemas.TokenPairSchema)
    @refuses(InvalidCode, TooManyAttempts)
    def post(self, answer: dict[str, Any]) -> Response:
        """Finish a sign-in with the code that came by mail

        A code is good once, for 5 minutes; a challenge bears 5 tries.
        """
        return _secret(bus().execute(SignInWithCode(**answer)))


@blueprint.route("/auth/resend-code")
class ResendView(MethodView):
    """Another code."""

    @public
    @blueprint.arguments(schemas.ChallengeName)
    @blueprint.response(202, schemas.CodeOnItsWay)
    @refuses(InvalidCode, TooManyAttempts)
    def post(self, name: dict[str, Any]) -> Response:
        """Ask for another code for the same sign-in

        At most one a minute. It takes the place of the one before; the challenge lasts no longer for it.
        """
        bus().execute(ResendCode(**name))
        return json_response({"detail": "Another code is on its way."}, 202)


@blueprint.route("/auth/refresh")
class RefreshView(MethodView):
    """Staying signed in."""

    @public
    @blueprint.arguments(schemas.RefreshRequest)
    @blueprint.response(200, schemas.TokenPairSchema)
    @refuses(InvalidRefreshToken)
    def post(self, given: dict[str, Any]) -> Response:
        """Exchange a refresh token for new tokens

        A refresh token is good once. Sent again within 30 seconds it brings the same successor, later
        it ends the session: somebody has a copy.
        """
        return _secret(bus().execute(Refresh(**given)))


@blueprint.route("/auth/logout")
class SignOutView(MethodView):
    """Signing out."""

    @once_signed_in
    @blueprint.response(204)
    def post(self) -> Response:
        """Sign out: end this session"""
        known = signed_in_caller()
        bus().execute(SignOut(known.user_id, known.session_id))
        return Response(status=204)


@blueprint.route("/auth/logout-all")
class SignOutEverywhereView(MethodView):
    """Signing out everywhere."""

    @signed_in
    @blueprint.response(204)
    def post(self) -> Response:
        """Sign out everywhere: end every session of the caller"""
        bus().execute(EndSessions(signed_in_caller().user_id))
        return Response(status=204)


@blueprint.route("/auth/sessions")
class SessionCollection(MethodView):
    """The caller's sessions."""

    @signed_in
    @blueprint.response(200, schemas.SessionList)
    def get(self) -> Response:
        """List the own sessions"""
        known = signed_in_caller()
        return json_response({"items": bus().ask(ListSessions(known.user_id, known.session_id), fresh=True)})


@blueprint.route("/auth/sessions/<uuid:session_id>")
class SessionItem(MethodView):
    """One of the caller's sessions."""

    @signed_in
    @blueprint.response(204)
    @refuses(SessionNotFound)
    def delete(self, session_id: UUID) -> Response:
        """End one of the own sessions"""
        bus().execute(EndSession(signed_in_caller().user_id, session_id))
        return Response(status=204)


@blueprint.route("/auth/validate-token")
class TokenCheck(MethodView):
    """Whether a token is good."""

    @public
    @blueprint.arguments(schemas.TokenToCheck)
    @blueprint.response(200, schemas.TokenValidity)
    def post(self, given: dict[str, Any]) -> Response:
        """Check an access token"""
        return json_response(_validity_of(given["access_token"]))


@blueprint.route("/auth/verify")
class OwnTokenCheck(MethodView):
    """Whether the presented token is good."""

    @signed_in
    @blueprint.response(200, schemas.TokenValidity)
    def get(self) -> Response:
        """Check the presented access token"""
        return json_response(_validity(signed_in_caller()))


def jwks_blueprint(keys: SigningKeys) -> flask.Blueprint:
    """The public keys that access tokens are verified with; none are public where one key signs and verifies."""
    root = flask.Blueprint("jwks", __name__)
    body = {"keys": keys.public()}

    def show() -> Response:
        return json_response(body, headers={"Cache-Control": "public, max-age=300"})

    if not keys.symmetric:
        root.add_url_rule("/.well-known/jwks.json", view_func=show)
    return root


def _secret(answer: TokenPair | CodeSent) -> Response:
    return json_response(answer, headers={"Cache-Control": "no-store"})


def _validity_of(access_token: Secret) -> dict[str, Any]:
    try:
        return _validity(api().authenticate(access_token.value))
    except InvalidToken:
        return {"is_valid": False}


def _validity(caller: Caller) -> dict[str, Any]:
    return {"is_valid": True, "user_id": caller.user_id, "exp": caller.token_expires_at}
