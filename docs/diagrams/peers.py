"""Draws `peers.svg` from the table "Beside other libraries" in docs/performance.md: `python docs/diagrams/peers.py`."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).with_suffix(".svg")
PAGE = TARGET.parents[1] / "performance.md"
PANELS = ("accepted per second", "processed per second", "from request to row, ms (shorter is better)")
WIDTH, LEFT, BAR, GAP = 1000, 140, 18, 8
STYLE = """
  svg { --page: #ffffff; --bar: #a9b4c4; --text: #1b2430; --soft: #55627a; --accent: #0b62c4 }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0f141b; --bar: #55627a; --text: #e8edf4; --soft: #a9b4c4; --accent: #6db1ff }
  }
  text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--text) }
  .name { font-weight: 600 }
  .soft { fill: var(--soft); font-size: 12.5px }
  .page { fill: var(--page) }
  .bar { fill: var(--bar) }
  .ours { fill: var(--accent) }
  .range { stroke: var(--text); stroke-width: 1.5 }
"""
Value = tuple[float, float, float]
"""Median, least, most."""


def rows(page: str) -> dict[str, list[Value]]:
    """The figures of each library."""
    table = page.partition("## Beside other libraries")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| ([^|]+) \| (\d[^|]+) \| (\d[^|]+) \| (\d[^|]+) \|", table, re.MULTILINE)
    return {name: [value(cell) for cell in cells] for name, *cells in lines}


def value(cell: str) -> Value:
    median, least, most = (float(number) for number in re.findall(r"[\d.]+", cell))
    return median, least, most


def panel(top: int, title: str, values: dict[str, Value]) -> str:
    longest = max(most for _, _, most in values.values())
    parts = [f'<text x="{LEFT}" y="{top}" class="name">{escape(title)}</text>']
    for number, (name, (median, least, most)) in enumerate(values.items()):
        y = top + 12 + number * (BAR + GAP)
        width, begins, ends = (round(figure / longest * (WIDTH - LEFT - 90)) for figure in (median, least, most))
        middle, kind = y + BAR / 2, "bar" if number else "ours"
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" rx="3" class="{kind}"/>',
            f'<line x1="{LEFT + begins}" y1="{middle}" x2="{LEFT + ends}" y2="{middle}" class="range"/>',
            f'<text x="{LEFT + ends + 8}" y="{y + 14}" class="soft">{median:g}</text>',
        ]
    return "\n".join(parts)


def drawing() -> str:
    figures = rows(PAGE.read_text(encoding="utf-8"))
    height = len(figures) * (BAR + GAP) + 44
    panels = [
        panel(26 + number * height, title, {name: values[number] for name, values in figures.items()})
        for number, title in enumerate(PANELS)
    ]
    size = f'width="{WIDTH}" height="{len(PANELS) * height}" viewBox="0 0 {WIDTH} {len(PANELS) * height}"'
    body = "\n".join(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Measured beside other libraries">\n'
        f'<style>{STYLE}</style>\n<rect width="100%" height="100%" class="page"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
