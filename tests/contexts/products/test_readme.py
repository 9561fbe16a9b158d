"""The README shows code of this context."""

from __future__ import annotations

import re

from backend.settings import ROOT


def test_the_code_of_the_readme_is_that_of_the_program() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    source = "".join(path.read_text() for path in (ROOT / "backend/contexts/products").rglob("*.py"))
    shown = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
    assert [line for line in shown if line not in source.splitlines()] == []
