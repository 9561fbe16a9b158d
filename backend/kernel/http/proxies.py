"""The headers of proxies, as far as TRUSTED_PROXIES trusts them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_WITH_PORT = re.compile(r"\[(?P<v6>[^]]*)\](:[0-9]*)?|(?P<v4>[0-9.]+):[0-9]*")
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")


class TrustedProxies:
    """Takes address, scheme, host, port and prefix from the last `hops` proxies."""

    def __init__(self, app: WSGIApplication, hops: int) -> None:
        self._app = app
        self._fixed = ProxyFix(self._tidy, x_for=hops, x_proto=hops, x_host=hops, x_port=hops, x_prefix=hops)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A quote that a client opens would swallow what the proxy appends."""
        environ["HTTP_X_FORWARDED_FOR"] = environ.get("HTTP_X_FORWARDED_FOR", "").replace('"', "")
        return self._fixed(environ, start_response)

    def _tidy(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """An invalid address or scheme is replaced by the peer's, and an invalid prefix by none."""
        original = environ["werkzeug.proxy_fix.orig"]
        scheme = environ["wsgi.url_scheme"].lower()
        environ["wsgi.url_scheme"] = scheme if scheme in ("http", "https") else original["wsgi.url_scheme"]
        if not address_of(environ.get("REMOTE_ADDR", "")):
            environ["REMOTE_ADDR"] = original["REMOTE_ADDR"]
        prefix = environ.get("SCRIPT_NAME", "").rstrip("/")
        environ["SCRIPT_NAME"] = prefix if _PREFIX.fullmatch(prefix) else original["SCRIPT_NAME"]
        return self._app(environ, start_response)


@lru_cache(1000)
def address_of(text: str) -> str:
    """The normalized address: without port, brackets and zone; "" if it is not an address.

    Raw text would be an identity that a client can change with each request.
    """
    found = _WITH_PORT.fullmatch(text.strip())
    bare = (found["v6"] or found["v4"] or "") if found else text.strip()
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
