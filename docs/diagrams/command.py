"""Draws `command.svg`, the path of a command: `python docs/diagrams/command.py`, after each change here."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).with_suffix(".svg")
WIDTH, HEIGHT = 1000, 374
STYLE = """
  svg { --page: #ffffff; --box: #f3f6fa; --line: #8794a8; --text: #1b2430; --soft: #55627a; --accent: #0b62c4 }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0f141b; --box: #1a222d; --line: #6d7b90; --text: #e8edf4; --soft: #a9b4c4; --accent: #6db1ff }
  }
  text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--text) }
  .name { font-weight: 600; font-size: 15px }
  .soft { fill: var(--soft); font-size: 12.5px }
  .code { font: 12.5px ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace }
  .step { fill: var(--page); font-weight: 700; font-size: 12px; text-anchor: middle }
  .page { fill: var(--page) }
  .box { fill: var(--box); stroke: var(--line) }
  .chip { fill: var(--page); stroke: var(--line) }
  .dot, #head path { fill: var(--accent) }
  .arrow { stroke: var(--accent); stroke-width: 1.8; fill: none; marker-end: url(#head) }
  .rare { stroke-dasharray: 5 5 }
"""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, size: tuple[float, float], name: str, note: str = "") -> str:
    width, height = size
    parts = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9" class="box"/>',
        text(x + 14, y + 26, name, "name"),
    ]
    return "\n".join([*parts, text(x + 14, y + 46, note, "soft")] if note else parts)


def chips(x: float, y: float, *names: str, gap: float = 10) -> str:
    parts = []
    for name in names:
        width = 7.6 * len(name) + 20
        parts += [
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="26" rx="13" class="chip"/>',
            text(x + width / 2, y + 17.5, name, "code", "middle"),
        ]
        x += width + gap
    return "\n".join(parts)


def arrow(start: tuple[float, float], end: tuple[float, float], *, rare: bool = False) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" class="arrow{" rare" if rare else ""}"/>'


def step(x: float, y: float, number: int) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="10" class="dot"/>' + text(x, y + 4.3, str(number), "step", "middle")


def drawing() -> str:
    """The whole picture."""
    shapes = [
        box(24, 20, (130, 160), "Client"),
        box(292, 20, (164, 160), "Flask API", "route → command"),
        box(558, 20, (182, 160), "RabbitMQ", "quorum queues"),
        chips(570, 86, "users.hashing"),
        chips(570, 120, "notifications.mail"),
        box(836, 20, (140, 160), "Celery worker", "handler"),
        box(292, 280, (684, 76), "PostgreSQL"),
        chips(306, 318, "users", "operations", "audit_log", "outbox"),
        text(962, 335, "one transaction: all of it, or nothing", "soft", "end"),
        # Client and API
        arrow((154, 64), (290, 64)),
        step(172, 64, 1),
        text(188, 57, "POST /users"),
        arrow((292, 108), (156, 108)),
        step(274, 108, 3),
        text(166, 101, "202 + handle"),
        arrow((292, 152), (156, 152)),
        step(274, 152, 7),
        text(166, 145, "201 if waiting"),
        # API, broker, worker
        arrow((456, 64), (556, 64)),
        step(474, 64, 2),
        text(490, 57, "publish"),
        text(490, 81, "confirmed", "soft"),
        arrow((740, 64), (834, 64)),
        step(758, 64, 4),
        text(774, 57, "deliver"),
        arrow((836, 140), (742, 140)),
        step(818, 140, 8),
        text(754, 133, "events"),
        text(754, 158, "relayed", "soft"),
        # The database
        arrow((906, 180), (906, 278)),
        step(906, 202, 5),
        text(892, 230, "inbox claim, effect,", anchor="end"),
        text(892, 250, "events, outcome", anchor="end"),
        arrow((430, 280), (430, 182)),
        step(430, 258, 6),
        text(446, 237, "NOTIFY: outcome known"),
        arrow((330, 180), (330, 278), rare=True),
        text(316, 226, "reads; commands", "soft", "end"),
        text(316, 244, "while the broker is away", "soft", "end"),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            "<title>How a command travels from the client to PostgreSQL, and its outcome back</title>",
            f"<style>{STYLE}</style>",
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">',
            '<path d="M0 0 L10 5 L0 10 z"/>',
            "</marker>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="14" class="page"/>',
            *shapes,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
