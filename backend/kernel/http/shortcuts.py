"""What is faster than plain Flask, and odd. Each says what it gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from flask import Response, request
from werkzeug.datastructures import Headers
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

T = TypeVar("T")


def behind(proxy: T) -> T:
    """The object that one of Flask's proxies stands for at present: each attribute of the proxy looks it up again."""
    return cast("LocalProxy[T]", proxy)._get_current_object()


def header(name: str) -> str | None:
    """A header of the request by its name in WSGI (PEP 3333), such as HTTP_PREFER; None without it."""
    return cast("str | None", behind(request).environ.get(name))


class Finished(Response):
    """A response whose headers need no more work: its length is set, and every address in it is ASCII."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """As they are: to look through them again takes 5 % of an accepted POST."""
        return self.headers
