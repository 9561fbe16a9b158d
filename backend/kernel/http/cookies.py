"""Session cookies: browsers send them instead of a bearer token. A write with them has further requirements.

A page of another site can make a browser send cookies. But it can neither set the header `X-CSRF` without a preflight,
which CORS refuses, nor send a false `Origin`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from flask import request

from backend.addresses import is_loopback
from backend.kernel.http.api import PREFIX, api, current, root
from backend.kernel.http.origins import Origins
from backend.kernel.messages.refusals import Denied

_SAFE = ("GET", "HEAD", "OPTIONS")


class CrossSite(Denied):
    """A write with a session cookie requires `X-CSRF: 1` and an `Origin` that is ours or in `CORS_ORIGINS`."""


@dataclass(frozen=True)
class SessionCookie:
    """A cookie that only this API reads.

    Attributes:
        prefix: with it a browser accepts the cookie only over TLS, and not from another host (RFC 6265bis).
    """

    plain_name: str
    prefix: str
    below: str

    @property
    def name(self) -> str:
        """Without the prefix over plain HTTP on this machine: browsers would refuse it there."""
        return self.plain_name if is_local() else self.prefix + self.plain_name

    @property
    def path(self) -> str:
        """The path to which browsers send it."""
        return root() + self.below if self.below else "/"

    @property
    def value(self) -> str | None:
        """The value in the request."""
        return request.cookies.get(self.name) if "HTTP_COOKIE" in current.get().environ else None


ACCESS = SessionCookie("access", "__Host-", "")
REFRESH = SessionCookie("refresh", "__Secure-", f"{PREFIX}/auth")


def is_local() -> bool:
    """Whether the request came over plain HTTP to a loopback address."""
    return request.scheme == "http" and is_loopback(_host_name(request.host))


def refuse_cross_site() -> None:
    """Refuse a write that another site may have sent.

    Raises:
        CrossSite: the header or the origin is missing or wrong.
    """
    environ = current.get().environ
    if environ["REQUEST_METHOD"] in _SAFE:
        return
    if environ.get("HTTP_X_CSRF") != "1" or not _is_ours(environ.get("HTTP_ORIGIN", "")):
        raise CrossSite


def _is_ours(origin: str) -> bool:
    settings = api().settings
    public = urlsplit(settings.public_url)
    ours = (f"{public.scheme}://{public.netloc}", f"{request.scheme}://{request.host}")
    return origin in ours or origin in _allowed(settings.cors_origins)


@cache
def _allowed(origins: tuple[str, ...]) -> Origins:
    return Origins(origins)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
