"""`celery -A tests.tasks.sample worker`: the real worker, with a receiver that does what each message says.

The body's field `do` chooses; every delivery is written to the output as `received <id>`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from uuid import UUID

from backend.kernel.context import Context
from backend.kernel.delivery.batches import BatchReceiver
from backend.kernel.delivery.codec import Undecodable
from backend.kernel.delivery.dead_letters import Reason
from backend.kernel.delivery.envelope import Envelope
from backend.kernel.delivery.receive import Receiver
from backend.kernel.delivery.sealing import Sealer, UnknownKey
from backend.kernel.messages.message import Command
from backend.kernel.messages.registry import Handlers, Kind
from backend.kernel.postgres.faults import DatabaseAway, TransactionAborted
from backend.program import Process, Program
from backend.settings import load_settings
from tasks.app import worker_app

handlers = Handlers[None]("sample")


@dataclass(frozen=True)
class Do(Command):
    """Do what `do` says."""

    do: str
    canary: str = ""


@dataclass(frozen=True)
class DoByMail(Do):
    """The same in another lane."""


@handlers.on(Do, attempts=2)
def work(command: Do, ports: None) -> None:
    """The receiver below stands in for it."""


@dataclass(frozen=True)
class DoSoon(Do):
    """The same within two seconds."""


@handlers.on(DoSoon, attempts=2, limit=2)
def hurry(command: DoSoon, ports: None) -> None:
    """The receiver below stands in for it."""


@handlers.on(DoByMail, kind=Kind.MAIL)
def write(command: DoByMail, ports: None) -> None:
    """The receiver below stands in for it."""


class ScriptedReceiver(Receiver):
    """A receiver whose messages say what becomes of them."""

    def receive(self, envelope: Envelope, traceparent: str | None = None) -> None:
        _say(f"received {envelope.id}", f"headers {envelope.headers.as_json()}")
        _DEEDS[envelope.body["do"]](envelope)
        _say(f"done {envelope.id}")

    def check_pause(self, task: str) -> None:
        """There is no database."""

    def note_retry(self, envelope: Envelope, tries: int, reason: str, seconds: float) -> None:
        """There is no database."""
        _say(f"noted: {envelope.id}.")

    def give_up(self, envelope: Envelope, reason: Reason = Reason.FAULT, error: BaseException | None = None) -> None:
        if envelope.body["do"] == "be undecodable" and _first_time(envelope, "give up"):
            raise DatabaseAway
        _say(f"gave up {envelope.id}")


class ScriptedBatches(BatchReceiver):
    """Does what each message of a batch says. What is not done then is a fault of the batch."""

    def receive(self, envelopes: Sequence[Envelope]) -> set[UUID]:
        _say("batch " + " ".join(sorted(str(envelope.id) for envelope in envelopes)))
        for envelope in envelopes:
            if envelope.body["do"] not in ("succeed", "kill the process", "hang once"):
                return set()
            _DEEDS[envelope.body["do"]](envelope)
        return {envelope.id for envelope in envelopes}


class ScriptedProcess(Process):
    """What the sample's tasks work with."""

    @cached_property
    def receiver(self) -> Receiver:
        unsigned = Sealer(self.resources.keyring, accept_unsigned=True)  # as the tests send them
        return ScriptedReceiver(**{**vars(super().receiver), "sealer": unsigned})

    @cached_property
    def batches(self) -> BatchReceiver:
        return ScriptedBatches(self.receiver)

    def sweep(self) -> int:
        _say("swept")
        return 0

    def note_run(self, name: str, rule: str, started_at: datetime, result: str) -> None:
        """There is no database."""

    def close(self) -> None:
        _say("closed")


def _fail(envelope: Envelope) -> None:
    raise ValueError(f"a value in an exception: {envelope.body.get('canary')}")


def _run_out_of_memory(_: Envelope) -> None:
    raise MemoryError


def _exit(_: Envelope) -> None:
    raise SystemExit(3)


def _be_undecodable(envelope: Envelope) -> None:
    raise Undecodable(envelope.body.get("canary"))


def _find_no_database_once(envelope: Envelope) -> None:
    if _first_time(envelope, "away"):
        raise DatabaseAway(envelope.body.get("canary"))


def _have_no_key_once(envelope: Envelope) -> None:
    if _first_time(envelope, "key"):
        raise UnknownKey


def _be_too_slow(_: Envelope) -> None:
    raise TransactionAborted


def _find_no_database_when_told(envelope: Envelope) -> None:
    if _first_time(envelope, "away"):
        _wait_until_told(envelope)
        raise DatabaseAway


def _wait_until_told(envelope: Envelope) -> None:
    _say(f"waits {envelope.id}")
    while not (_directory() / f"go on {envelope.id}").exists():
        threading.Event().wait(0.05)


def _hang_once(envelope: Envelope) -> None:
    if _first_time(envelope, "hang"):
        _say(f"hangs {envelope.id}")
        threading.Event().wait()


_DEEDS: Mapping[str, Callable[[Envelope], None]] = {
    "succeed": lambda _: None,
    "fail": _fail,
    "run out of memory": _run_out_of_memory,
    "exit": _exit,
    "be undecodable": _be_undecodable,
    "find no database once": _find_no_database_once,
    "have no key once": _have_no_key_once,
    "be too slow": _be_too_slow,
    "find no database when told": _find_no_database_when_told,
    "kill the process": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "hang once": _hang_once,
    "wait until told": _wait_until_told,
}


def _first_time(envelope: Envelope, what: str) -> bool:
    """Whether no worker process has been here with this message."""
    try:
        (_directory() / f"{what} {envelope.id}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _directory() -> Path:
    return Path(os.environ["SAMPLE_DIRECTORY"])


def _say(*lines: str) -> None:
    os.write(1, "".join(f"{line}\n" for line in lines).encode())


sample = Context("sample", handlers, lambda _resources, _unit: None)
# In development the log shows the text of every exception.
program = Program(replace(load_settings(), app_env="production"), [sample])
app = worker_app(program, partial(ScriptedProcess, program))
