"""What is faster than plain Flask, and odd. Each says what it gains; docs/performance.md says how that was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from werkzeug.datastructures import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Finished(Response):
    """A response whose headers need no more work: its length is set, and every address in it is ASCII."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """As they are: to look through them again takes 5 % of an accepted POST."""
        return self.headers


class QuickFlask(Flask):
    """Flask without its look, several times a request, for views that are coroutines: we have none."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is."""
        return func


def noted(view: Callable[..., Any]) -> dict[str, Any]:
    """What decorators have noted of a view for the OpenAPI document. flask-smorest reads it from a private name."""
    notes: dict[str, Any] = getattr(view, "_apidoc", {})
    return notes


def note(view: Callable[..., Any], **notes: Any) -> None:
    """Note something of a view for the OpenAPI document."""
    view._apidoc = {**noted(view), **notes}  # type: ignore[attr-defined]
