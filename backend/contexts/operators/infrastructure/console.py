"""The operators' console: a page whose script asks this API, with the session cookie of an administrator.

The page itself holds nothing private and asks neither broker nor database: while they are away it can say so.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

import flask
from flask import Response
from werkzeug.exceptions import NotFound

from backend.kernel.http.api import PREFIX, root
from backend.kernel.http.pages import page
from backend.kernel.resources import Resources

_FILES = Path(__file__).parent / "console"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_YEAR = 365 * 24 * 3600


def console_pages(_resources: Resources) -> tuple[flask.Blueprint, ...]:
    """`/console` and the files it loads, at the root."""
    console = flask.Blueprint("console", __name__, template_folder="templates")
    console.add_url_rule("/console", view_func=show)
    console.add_url_rule("/console/files/<version>/<name>", "file", view_func=file)
    return (console,)


def show() -> Response:
    """The page."""
    files = f"{root()}/console/files/{_version()}"
    response = page("console/console.html", files=files, api=root() + PREFIX, root=root())
    response.headers["Cache-Control"] = "no-store"
    return response


def file(version: str, name: str) -> Response:
    """A file of the page. Its modules import each other by relative address, so one version names all of them."""
    content = _contents().get(name)
    if content is None:
        raise NotFound
    response = Response(content, mimetype=_TYPES[Path(name).suffix])
    kept = f"max-age={_YEAR}, immutable" if version == _version() else "max-age=0, must-revalidate"
    response.headers["Cache-Control"] = f"public, {kept}"
    return response


@cache
def _version() -> str:
    digest = sha256()
    for name, content in sorted(_contents().items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


@cache
def _contents() -> dict[str, bytes]:
    """Every file; nothing else of the folder is reachable."""
    return {path.name: path.read_bytes() for path in _FILES.iterdir() if path.suffix in _TYPES}
