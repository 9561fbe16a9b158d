"""The last part of `make coverage`: the tests run nearly every line and branch of what the contexts decide."""

from __future__ import annotations

import io
import sys
from itertools import chain
from pathlib import Path

from coverage import Coverage

from backend.settings import ROOT

_LEAST = 95.0
"""Percent of the lines and branches of each module of `domain` and `application`."""


def short(measured: Coverage) -> dict[Path, float]:
    """The modules with less, each with its percentage."""
    contexts = ROOT / "backend/contexts"
    modules = chain(contexts.glob("*/domain/*.py"), contexts.glob("*/application/*.py"))
    covered = {
        module: measured.report([str(module)], output_format="total", file=io.StringIO())
        for module in sorted(modules)
        if module.stat().st_size
    }
    return {module: percent for module, percent in covered.items() if percent < _LEAST}


if __name__ == "__main__":
    measured = Coverage()
    measured.load()
    if found := short(measured):
        sys.exit("\n".join(f"{module}: {percent:.0f} %, less than {_LEAST:.0f} %" for module, percent in found.items()))
