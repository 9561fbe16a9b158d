"""docs/frontend.md: its examples, on the program. Those of a context are tested with the context."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flask import Flask

from backend.settings import ROOT
from tests.console import check, served

APP = "http://127.0.0.1:5173"
PAGE = (ROOT / "docs/frontend.md").read_text()


def test_the_first_page_is_the_one_that_the_browser_tests_open() -> None:
    assert f"```tsx\n{(ROOT / 'examples/web/src/first.tsx').read_text()}```" in PAGE


@pytest.mark.parametrize("settings", [{"cors_origins": (APP,), "frontend_url": APP}], indirect=True)
def test_every_example_answers_what_the_page_says(app: Flask, tmp_path: Path) -> None:
    of_every_program, _, _ = PAGE.partition("\n## Uploads\n")
    with served(app) as address:
        variables = {"API": f"{address}/api/v1", "MAIL": str(tmp_path / "mail"), "PATH": os.environ["PATH"]}
        check(of_every_program, tmp_path, variables)
