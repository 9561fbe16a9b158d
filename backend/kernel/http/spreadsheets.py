"""CSV (RFC 4180), written so that no spreadsheet takes a cell for a formula (OWASP, "CSV Injection")."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from io import StringIO

_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[ \t]*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet may begin a cell, with what it takes for a formula; full-width signs are signs to some."""


def line(cells: Iterable[object]) -> str:
    """One line."""
    text = StringIO()
    csv.writer(text).writerow(map(_cell, cells))
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    harmless = _FORMULA.sub(r"\1'", text)  # whichever of them it takes for the end of a cell
    changed = harmless != text or text.startswith(("\t", "\r"))
    return "'" + harmless.removeprefix("'") if changed else text
