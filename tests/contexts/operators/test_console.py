"""The console's page and files, and what it asks of the API."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from backend.kernel.http.caller import Authenticate
from tests.client import Client, believing


@pytest.fixture
def authenticate() -> Authenticate:
    return believing({})


@pytest.fixture
def anybody(app: Flask) -> Client:
    return Client(app)


def test_the_page_needs_nothing_from_elsewhere_and_is_not_stored(anybody: Client) -> None:
    page = anybody.open("GET", "/console")
    assert (page.status_code, page.content_type) == (200, "text/html; charset=utf-8")
    assert page.headers["Cache-Control"] == "no-store"
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"(src|href)=\"(https?:)?//|<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", page.text)


def test_every_file_is_served_from_here_and_kept_by_the_browser(anybody: Client) -> None:
    waiting = re.findall(r"\"(/console/files/[^\"]+)\"", anybody.open("GET", "/console").text)
    seen = set()
    while waiting:
        address = waiting.pop()
        seen.add(address)
        file = anybody.open("GET", address)
        assert file.status_code == 200, address
        assert file.content_type == f"text/{'css' if address.endswith('.css') else 'javascript'}; charset=utf-8"
        assert "immutable" in file.headers["Cache-Control"]
        assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", file.text), address
        folder = address.rpartition("/")[0]
        imported = (f"{folder}/{name}" for name in re.findall(r"from \"\./([^\"]+)\"", file.text))
        waiting += [one for one in imported if one not in seen]
    assert {"app.js", "api.js", "console.css", "overview.js"} <= {address.rpartition("/")[2] for address in seen}


def test_a_page_of_another_release_still_finds_its_files(anybody: Client) -> None:
    """While processes are restarted one by one, another one may answer."""
    file = anybody.open("GET", "/console/files/0123456789ab/app.js")
    assert file.status_code == 200
    assert "immutable" not in file.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["console.html", "console.py", "..%2fconsole.py", "nothing.js"])
def test_no_other_file_is_served(anybody: Client, name: str) -> None:
    assert anybody.open("GET", f"/console/files/0123456789ab/{name}").status_code == 404


def test_behind_a_prefix_every_address_has_it(anybody: Client) -> None:
    page = anybody.open("GET", "/console", environ={"SCRIPT_NAME": "/backend"}).text
    assert 'data-api="/backend/api/v1"' in page
    assert '"/backend/console/files/' in page
