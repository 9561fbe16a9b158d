"""The mail server that MAIL_URL names, and how mails are protected on their way to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qsl, unquote, urlsplit

from backend.addresses import UnreadableAddress, is_loopback

_SUBMISSION_PORTS = {"smtp": 587, "smtps": 465}
"""RFC 6409 and RFC 8314, when MAIL_URL names none."""


class Tls(Enum):
    """Whether a mail travels encrypted. Mails hold links that open accounts."""

    IMPLICIT = auto()  # from the first byte
    STARTTLS = auto()  # agreed on first; a server that does not offer it gets nothing
    OFFERED = auto()  # where the server offers it: nobody listens on the way to this machine
    NONE = auto()  # the operator says that the network is trusted


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed over."""

    host: str
    port: int
    tls: Tls
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def mail_server(mail_url: str) -> MailServer:
    """The server of `smtps://user:password@host:port` or `smtp://user:password@host:port`.

    `smtp://` asks for STARTTLS, except from a server on this machine; `smtp://host?tls=none` never does.

    Raises:
        UnreadableAddress: it is neither.
    """
    try:
        url = urlsplit(mail_url)
        port = url.port
    except ValueError:
        raise UnreadableAddress("has a host or port that cannot be read; percent-encode its password") from None
    if url.scheme not in _SUBMISSION_PORTS:
        raise UnreadableAddress("must begin with smtps://, smtp:// or (development only) file:")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if options not in ({}, {"tls": "none"}) or "@" in url.path + url.query + url.fragment:
        raise UnreadableAddress("has more than user, password, host, port and ?tls=none; percent-encode its password")
    host = url.hostname or "localhost"
    return MailServer(
        host,
        port or _SUBMISSION_PORTS[url.scheme],
        _tls(url.scheme, host, trusted="tls" in options),
        unquote(url.username or ""),
        unquote(url.password or ""),
    )


def _tls(scheme: str, host: str, *, trusted: bool) -> Tls:
    if scheme == "smtps":
        return Tls.IMPLICIT
    if trusted:
        return Tls.NONE
    return Tls.OFFERED if is_loopback(host) else Tls.STARTTLS
