"""Events: what happened in a context."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Event:
    """Something that happened. Its wire name is pinned, because queued messages must stay readable.

    Attributes:
        version: raised when a field changes its meaning. Both versions are then published for a while.
    """

    version: ClassVar[int] = 1
    public: ClassVar[bool] = True
    """Whether a CloudEvents copy is published for other programs. An event with a secret is not public."""
    reads: ClassVar[str] = ""
    """The wire name of another context's event, for a class that declares those of its fields that it reads.

    A context that listens in this way does not depend on the other: whichever is dropped, the other one works.
    """

    @property
    def subject(self) -> str:
        """The id of the aggregate. Events of one subject keep their order."""
        raise NotImplementedError

    @classmethod
    def routing_key(cls) -> str:
        """`<context>.<event>.v<n>`, taken from the module the event is declared in, or what it reads."""
        if cls.reads:
            return cls.reads
        context = cls.__module__.split(".")[2]
        return f"{context}.{snake_case(cls.__name__)}.v{cls.version}"


def snake_case(name: str) -> str:
    """`UserCreated` as `user_created`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
