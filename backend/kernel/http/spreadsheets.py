"""CSV (RFC 4180), written so that no spreadsheet takes a cell for a formula (OWASP, "CSV Injection"), and read again.

A guarded cell begins with an apostrophe, and one follows each separator at which a spreadsheet may begin a cell with
a formula. A text that looks guarded already is guarded once more, so that every text comes back as it was.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from io import StringIO

import msgspec

_FORMULA = r"(?=['\" \t]*[=+\-@\uff1d\uff0b\uff0d\uff20])"  # full-width signs are signs to some
_NEEDS_GUARD = re.compile(rf"(?:^|[;\t\r\n]){_FORMULA}|^'*[\t\r]")
_SEPARATOR = re.compile(rf"([;\t\r\n]){_FORMULA}")
_GUARDED_SEPARATOR = re.compile(rf"([;\t\r\n])'{_FORMULA}")


def line(cells: Iterable[object]) -> str:
    """One line: values as JSON has them, guarded."""
    text = StringIO()
    csv.writer(text).writerow(map(_cell, cells))
    return text.getvalue()


def guarded(text: str) -> str:
    """The text as a cell."""
    return "'" + _SEPARATOR.sub(r"\1'", text) if _NEEDS_GUARD.search(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell."""
    bare = cell.removeprefix("'")
    return _GUARDED_SEPARATOR.sub(r"\1", bare) if bare != cell and _NEEDS_GUARD.search(bare) else cell


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else guarded(str(msgspec.to_builtins(value)))
