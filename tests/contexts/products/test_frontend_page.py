"""docs/frontend.md shows an import of products."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask

from backend.settings import ROOT
from tests.console import check, served


def test_the_upload_answers_what_the_page_says(app: Flask, tmp_path: Path) -> None:
    _, _, uploads = (ROOT / "docs/frontend.md").read_text().partition("\n## Uploads\n")
    with served(app) as address:
        check(uploads, tmp_path, {"API": f"{address}/api/v1", "ADMIN": "admin", "PATH": os.environ["PATH"]})
