"""The commands that a page of the documentation shows, run in a shell, against what it says they answer."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from threading import Thread

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "-- end of the command --"
_QUIETLY = 'curl() { command curl --silent --show-error --max-time 60 "$@"; }'


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - so it is named
        """Nothing."""


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address at which the app answers other processes, for the `with` block."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(text: str, directory: Path, environment: Mapping[str, str]) -> None:
    """Run every command of the text's console blocks, in order, in one shell.

    A command begins with `$ `, and what is indented below it continues it. Each other line must be among the command's
    output, where `…` stands for anything. Names of headers and reasons of a status differ in case between servers.

    Raises:
        AssertionError: a line is not there.
    """
    examples = [example for block in _BLOCK.findall(text) for example in _examples(block)]
    assert examples
    script = [_QUIETLY, *(f"{command}\nprintf '\\n{_END}\\n'" for command, _ in examples)]
    ended = subprocess.run(
        ("bash", "-c", "\n".join(script)),
        cwd=directory,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    for (command, expected), output in zip(examples, ended.stdout.split(_END), strict=False):
        lines = output.splitlines()
        for line in expected:
            pattern = re.compile(".*".join(map(re.escape, line.split("…"))), re.IGNORECASE)
            assert any(map(pattern.fullmatch, lines)), f"{command}\nshould answer {line}\nbut answers {output}"


def _examples(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command with the lines that are shown of its answer."""
    for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *others = example.splitlines()
        continued = list(takewhile(lambda line: line.startswith("    "), others))
        yield "\n".join([command, *continued]), others[len(continued) :]
