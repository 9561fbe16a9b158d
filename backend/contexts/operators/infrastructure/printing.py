"""How `flask` prints tables and times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click


def table(lines: Sequence[tuple[str, ...]]) -> None:
    """Print lines of cells in columns; the first line is the heading."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def instant(at: datetime) -> str:
    """The time in UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
