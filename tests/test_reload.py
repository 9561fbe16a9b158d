"""`make run` restarts what runs our code when the code changes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.reload import Reloader


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    """Something that supervisord, here the test, has started."""
    with subprocess.Popen((sys.executable, "-c", "input()", "wsgi:app"), stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def module(tmp_path: Path) -> Path:
    module = tmp_path / "backend" / "module.py"
    module.parent.mkdir()
    module.touch()
    module.with_name("mail.txt").touch()
    (tmp_path / "wsgi.py").write_text("import backend.module")
    return module


@pytest.mark.parametrize("name", ["module.py", "mail.txt"])
def test_a_changed_file_ends_the_programs_that_supervisord_then_starts_again(
    program: subprocess.Popen[bytes], module: Path, tmp_path: Path, name: str
) -> None:
    reloader = Reloader(os.getpid(), tmp_path, settled_after=0)
    assert not reloader.look()

    os.utime(module.with_name(name), (1, 1))

    assert reloader.look()
    assert program.wait(60) != 0
    assert not reloader.look()


def test_code_that_cannot_be_loaded_ends_nothing_and_is_told_once_until_it_can(
    program: subprocess.Popen[bytes], module: Path, tmp_path: Path
) -> None:
    reloader = Reloader(os.getpid(), tmp_path, settled_after=0)

    module.write_text("x = = 1")
    told = reloader.look()
    assert "module.py" in told
    assert "SyntaxError: invalid syntax" in told
    assert not reloader.look()
    assert program.poll() is None

    module.write_text("x = 1")
    assert "restarting" in reloader.look()
    assert program.wait(60) != 0


def test_a_program_that_has_just_started_is_given_time(
    program: subprocess.Popen[bytes], module: Path, tmp_path: Path
) -> None:
    """Or else supervisord takes it for one that cannot start."""
    reloader = Reloader(os.getpid(), tmp_path, settled_after=600)
    os.utime(module, (1, 1))
    assert not reloader.look()
    assert program.poll() is None
