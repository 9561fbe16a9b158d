"""The documents: pictures drawn from their source, links that lead somewhere, numbered decisions."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from backend.settings import ROOT

_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_SCRIPTS = sorted((ROOT / "docs/diagrams").glob("*.py"))
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.stem)
def test_a_picture_is_what_its_script_draws(script: Path) -> None:
    assert script.with_suffix(".svg").read_text() == runpy.run_path(str(script))["drawing"]()


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_decisions_are_numbered_without_holes() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
