"""The path of a command, counted: see `tests/test_path.py`.

From the function of the route to the row in PostgreSQL, as a reader follows it downwards: to the queue, and from the
worker on; the answer's way back to the caller is another one. Each function of backend/ counts once, when it is first
called. A file is entered when the reader comes to it from another file. Lambdas and comprehensions belong to the
function around them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import FrameType

from backend.settings import ROOT

_OURS = str(ROOT / "backend")


@dataclass
class CommandPath:
    """What was called, in order.

    Attributes:
        begins, ends: names of the first function that counts, and of the first that no longer does.
    """

    begins: str
    ends: str
    functions: list[tuple[str, str]] = field(default_factory=list)
    paused: bool = False
    """While the message lies in its lane."""
    _over: bool = False

    @property
    def files(self) -> list[str]:
        """Every file, as often as the reader comes to it."""
        return [file for file, _ in groupby(file for file, _ in self.functions)]

    @property
    def most_entered(self) -> int:
        """How often the reader comes to the file that is entered most."""
        return max(Counter(self.files).values())

    def __str__(self) -> str:
        lines = [f"{file}: {name}" for file, name in self.functions]
        counts = f"{len(self.functions)} functions, {len(set(self.files))} files, {self.most_entered} entries at most"
        return "\n".join([*lines, counts, str(Counter(self.files).most_common(5))])

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take note of a call."""
        code = frame.f_code
        if (
            event != "call"
            or not code.co_filename.startswith(_OURS)
            or code.co_name.startswith("<")
            or self._over
            or self.paused
        ):
            return
        call = str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname
        if call[1] == self.ends:
            self._over = True
        elif (self.functions or call[1] == self.begins) and call not in self.functions:
            self.functions.append(call)


@contextmanager
def counted(begins: str, ends: str) -> Iterator[CommandPath]:
    """Count what runs inside the block, in this thread."""
    path = CommandPath(begins, ends)
    before = sys.getprofile()
    sys.setprofile(path.note)
    try:
        yield path
    finally:
        sys.setprofile(before)
