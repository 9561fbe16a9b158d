"""The origins whose pages may use the API: each is exact, or has `*` as its first label."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_HOST = rf"({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(\*\.(?=[^.]+\.))?{_HOST}(:(?P<port>[1-9][0-9]{{0,4}}))?")
_DEFAULT_PORTS = {("http", "80"), ("https", "443")}
_HIGHEST_PORT = 65535
_LONGEST_ORIGIN = 300


def is_origin(text: str) -> bool:
    """Whether it is an origin as a browser sends it, or one with `*` as its first label and at least two more."""
    found = _ORIGIN.fullmatch(text)
    if found is None or (found["scheme"], found["port"]) in _DEFAULT_PORTS:
        return False
    return int(found["port"] or 0) <= _HIGHEST_PORT


class Origins:
    """The allowed origins: each exact, or with any one label in place of `*`."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._exact = frozenset(allowed)
        patterns = (re.escape(origin).replace(r"\*", _LABEL, 1) for origin in allowed if "*" in origin)
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def __contains__(self, origin: str) -> bool:
        if len(origin) > _LONGEST_ORIGIN or "*" in origin:
            return False
        return origin in self._exact or any(pattern.fullmatch(origin) for pattern in self._patterns)
