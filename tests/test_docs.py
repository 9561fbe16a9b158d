"""The documents: pictures drawn from their source, links to files, decisions in one form, standard terms."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from backend.settings import ROOT

_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_SCRIPTS = sorted((ROOT / "docs/diagrams").glob("*.py"))
_DECISIONS = sorted((ROOT / "docs/adr").glob("*.md"))
_NAMED = re.compile(r"`((?:backend|bench|deploy|docs|migrations|tasks|tests)/[\w./-]+)`")
_TEXTS = [*_PAGES, *(path for name in ("backend", "tasks") for path in (ROOT / name).rglob("*.py"))]
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.stem)
def test_a_picture_is_what_its_script_draws(script: Path) -> None:
    assert script.with_suffix(".svg").read_text() == runpy.run_path(str(script))["drawing"]()


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    text = _CODE.sub("", page.read_text())
    missing = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: path.name)
def test_links_into_a_page_lead_to_a_heading(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^):#]*\.md)?#([^)]+)\)", _CODE.sub("", page.read_text())):
        assert anchor in _anchors(page.parent / link if link else page), link


def _anchors(page: Path) -> set[str]:
    """The headings, as GitHub names them in links."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: path.name)
def test_named_files_exist(page: Path) -> None:
    """Except those of a context that is not here: it was dropped, or is the one that a page creates."""
    named = _NAMED.findall(page.read_text())
    assert [path for path in named if not (ROOT / path).exists() and _is_here(path)] == []


def _is_here(path: str) -> bool:
    owner = re.match(r"(?:\w+/contexts|migrations)/(\w+)", path)
    return owner is None or (ROOT / "backend/contexts" / owner[1] / "context.py").exists() or owner[1] == "kernel"


def test_decisions_are_numbered_without_holes_and_share_one_form() -> None:
    for number, path in enumerate(_DECISIONS, start=1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        headings = re.findall(r"^(?:Status|## \w+)", text, re.MULTILINE)
        assert headings == ["Status", "## Context", "## Decision", "## Consequences", "## Rejected"], path


def test_the_index_lists_every_document() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text())}
    assert {page for page in (ROOT / "docs").rglob("*.md") if page != index} - linked == set()


@pytest.mark.parametrize("phrase", ["carried out", "carries out", "carry out", "sees to it", "shut out", "the own "])
def test_texts_use_standard_terms(phrase: str) -> None:
    """Write "process", "ensure", "deactivate", "your": a reader should not have to guess."""
    assert [path for path in _TEXTS if phrase in path.read_text().lower()] == []


def test_every_test_that_the_security_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/security.md").read_text()))
    written = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - written == set()


def test_the_licence_of_every_package_in_production_is_listed() -> None:
    installed = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements-production.txt").read_text(), re.MULTILINE))
    listed = set(re.findall(r"^\| ([\w.-]+) \|", (ROOT / "docs/licences.md").read_text(), re.MULTILINE))
    assert listed - {"package"} == installed
