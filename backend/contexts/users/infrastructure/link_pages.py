"""The pages that mailed links lead to, unless FRONTEND_URL names others. They work without JavaScript.

Opening a page does nothing: a mail server may open every link before a person does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import marshmallow as ma
from flask import Blueprint, Response, request

from backend.contexts.users.application.commands import ResetPassword, VerifyEmail
from backend.contexts.users.infrastructure.schemas import PasswordReset, Verification
from backend.contexts.users.infrastructure.settings import UsersSettings
from backend.kernel.http.api import api, bus
from backend.kernel.http.pages import page
from backend.kernel.http.problems import status_of
from backend.kernel.messages.message import SyncCommand
from backend.kernel.messages.refusals import Refusal
from backend.kernel.postgres.faults import DatabaseAway
from backend.kernel.resources import Resources
from backend.languages import LANGUAGES

_UNPROCESSABLE = 422
_UNAVAILABLE = 503
VERIFY = {
    "en": {
        "title": "Confirm your e-mail address",
        "intro": "Confirm that this address is yours.",
        "password": "If you have just registered: the password that you chose",
        "button": "Confirm",
        "done": "Your address is confirmed. You can sign in.",
        "invalid": "Enter the password that you chose when you registered.",
    },
    "es": {
        "title": "Confirma tu dirección de correo",
        "intro": "Confirma que esta dirección es tuya.",
        "password": "Si acabas de registrarte: la contraseña que elegiste",
        "button": "Confirmar",
        "done": "Tu dirección está confirmada. Ya puedes iniciar sesión.",
        "invalid": "Escribe la contraseña que elegiste al registrarte.",
    },
}
RESET = {
    "en": {
        "title": "Choose a new password",
        "intro": "It needs 8 to 128 characters. You will be signed out everywhere.",
        "password": "New password",
        "button": "Change the password",
        "done": "Your password has been changed. Sign in with the new one.",
        "invalid": "Choose another one: 8 to 128 characters, not a common password, not your name or address.",
    },
    "es": {
        "title": "Elige una contraseña nueva",
        "intro": "Debe tener de 8 a 128 caracteres. Se cerrarán todas tus sesiones.",
        "password": "Contraseña nueva",
        "button": "Cambiar la contraseña",
        "done": "Tu contraseña ha cambiado. Inicia sesión con la nueva.",
        "invalid": "Elige otra: de 8 a 128 caracteres, que no sea común ni tu nombre o dirección.",
    },
}
ERRORS = {
    "en": {
        "invalid_link": "This link is no longer valid. Ask for a new one.",
        "wrong_password": "The password is incorrect.",
        "email_taken": "Another account uses this address.",
        "too_many_attempts": "There were too many attempts. Try again later.",
        "": "That did not work. Try again later.",
    },
    "es": {
        "invalid_link": "Este enlace ya no es válido. Pide uno nuevo.",
        "wrong_password": "La contraseña no es correcta.",
        "email_taken": "Otra cuenta usa esta dirección.",
        "too_many_attempts": "Ha habido demasiados intentos. Inténtalo más tarde.",
        "": "No ha funcionado. Inténtalo más tarde.",
    },
}


@dataclass(frozen=True)
class _Form:
    """A page with a token and, mostly, a password.

    Attributes:
        field: the name of the password.
        required: whether it is always asked for.
    """

    texts: Mapping[str, Mapping[str, str]]
    schema: ma.Schema
    command: Callable[..., SyncCommand[None]]
    field: str
    autocomplete: str
    required: bool

    def show(self) -> Response:
        """The empty form."""
        return self._page(request.args.get("token", ""))

    def take(self) -> Response:
        """Do what the link is for."""
        token = request.form.get("token", "")
        given = {"token": token, self.field: request.form.get(self.field, "")}
        errors = ERRORS[_language()]
        try:
            bus().execute(self.command(**self.schema.load({name: text for name, text in given.items() if text})))
        except ma.ValidationError as error:
            text = errors["invalid_link"] if "token" in error.messages else self._text["invalid"]
            return self._page(token, text, _UNPROCESSABLE)
        except DatabaseAway:
            return self._page(token, errors[""], _UNAVAILABLE)
        except Refusal as refusal:
            code = refusal.code()
            text = self._text["invalid"] if code == "validation_failed" else errors.get(code, errors[""])
            return self._page(token, text, status_of(type(refusal)))
        return self._page("", done=True)

    @property
    def _text(self) -> Mapping[str, str]:
        return self.texts[_language()]

    def _page(self, token: str, error: str = "", status: int = 200, *, done: bool = False) -> Response:
        asks_password = self.required or api().settings.of(UsersSettings).require_email_verification
        response = page(
            "links/form.html",
            has_form=True,
            language=_language(),
            text=self._text,
            token=token,
            error=error,
            done=done,
            asks_password=asks_password,
            field=self.field,
            autocomplete=self.autocomplete,
            required=self.required,
        )
        response.status_code = status
        response.headers["Cache-Control"] = "no-store"
        response.vary.add("Accept-Language")
        return response


def link_pages(_resources: Resources) -> tuple[Blueprint, ...]:
    """`/verify-email` and `/reset-password`, at the root."""
    pages = Blueprint("links", __name__, template_folder="templates")
    forms: dict[str, Any] = {
        "/verify-email": _Form(VERIFY, Verification(), VerifyEmail, "password", "current-password", required=False),
        "/reset-password": _Form(RESET, PasswordReset(), ResetPassword, "new_password", "new-password", required=True),
    }
    for path, form in forms.items():
        pages.add_url_rule(path, f"show{path[1:]}", form.show, methods=["GET"])
        pages.add_url_rule(path, f"take{path[1:]}", form.take, methods=["POST"])
    return (pages,)


def _language() -> str:
    return request.accept_languages.best_match(LANGUAGES, LANGUAGES[0])
