"""How `flask` reads filters, and prints tables and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from backend.contexts.operators.domain import rules
from backend.kernel.http.cli import say
from backend.kernel.messages.refusals import Invalid


class _Reason(click.ParamType[str]):
    """As the API takes it: nobody can act on an empty one."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return rules.reason(value)
        except Invalid as refused:
            self.fail(refused.errors[0].detail, param, ctx)


REASON = _Reason()
UTC_TIME = click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"])


def given(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that were given."""
    return {name: _in_utc(value) for name, value in filters.items() if value is not None}


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def table(lines: Sequence[tuple[str, ...]]) -> None:
    """Print lines of cells in columns; the first line is the heading."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def instant(at: datetime) -> str:
    """The time in UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
