"""The mail server of MAIL_URL, and the encryption of the connection to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qsl, urlsplit

from backend.addresses import UnreadableAddress, is_loopback, unescaped

_SUBMISSION_PORTS = {"smtp": 587, "smtps": 465}
"""RFC 6409 and RFC 8314, if MAIL_URL names no port."""


class Tls(Enum):
    """The encryption of a mail in transit. Mails contain links that give access to accounts."""

    IMPLICIT = auto()  # from the first byte
    STARTTLS = auto()  # with STARTTLS; a server that does not offer it gets no mail
    OFFERED = auto()  # if the server offers it: a loopback connection cannot be intercepted
    NONE = auto()  # the operator trusts the network


@dataclass(frozen=True)
class MailServer:
    """The mail server that mails are handed to."""

    host: str
    port: int
    tls: Tls
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def mail_server(mail_url: str) -> MailServer:
    """The server of `smtps://user:password@host:port` or `smtp://user:password@host:port`.

    `smtp://` requires STARTTLS, except from a server on this machine; `smtp://host?tls=none` never does.

    Raises:
        UnreadableAddress: it is neither.
    """
    try:
        url = urlsplit(mail_url)
        port = url.port
    except ValueError:
        raise UnreadableAddress("has a host or port that cannot be parsed; percent-encode its password") from None
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
        unescaped(url.username),
        unescaped(url.password),
    )


def _tls(scheme: str, host: str, *, trusted: bool) -> Tls:
    if scheme == "smtps":
        return Tls.IMPLICIT
    if trusted:
        return Tls.NONE
    return Tls.OFFERED if is_loopback(host) else Tls.STARTTLS
