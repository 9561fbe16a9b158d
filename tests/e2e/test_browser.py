"""The sample frontend (examples/web) in Chromium, at another origin than the program behind it.

`make check` runs the scenarios that are marked `@short`, where Node, Chromium and the sample's packages are installed.
`make e2e` installs the packages and runs all of them. Screenshots are in `var/e2e`.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from backend.settings import ROOT, VAR
from tests.e2e.switch import switch_of
from tests.flow.programs import free_port
from tests.served import served

WEB = ROOT / "examples/web"
WHOLE = os.environ.get("E2E") == "all"
_CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
_INSTALLED = (WEB / "node_modules/.bin/playwright").exists() and (ROOT / "clients/typescript/dist").exists()

pytestmark = [
    pytest.mark.timeout(1800 if WHOLE else 240),
    pytest.mark.skipif(
        not (_CHROMIUM and _INSTALLED), reason="browser tests need Node 20, Chromium and one `make e2e`"
    ),
]


def test_the_sample_in_a_browser() -> None:
    page = f"http://127.0.0.1:{free_port()}"
    with served(CORS_ORIGINS=page, FRONTEND_URL=page) as (place, orders), switch_of(orders) as switch:
        scenarios = subprocess.run(
            ("npx", "playwright", "test", *(() if WHOLE else ("--grep", "@short"))),
            cwd=WEB,
            env={
                **os.environ,
                "API": place["url"],
                "VITE_API_URL": place["url"],
                "WEB": page,
                "MAIL": place["mail"],
                "ADMIN_EMAIL": place["email"],
                "ADMIN_PASSWORD": place["password"],
                "SWITCH": switch,
                "CHROMIUM": _CHROMIUM,
                "SCREENSHOTS": str(VAR / "e2e"),
            },
            check=False,
        )
    assert scenarios.returncode == 0
