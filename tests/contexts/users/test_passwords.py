"""The hasher of the API process."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from backend.contexts.users.infrastructure.passwords import BcryptHasher
from backend.kernel.keys import Keyring
from backend.kernel.messages.secret import Secret

_KEYRING = Keyring(("a key of the tests, long enough for them",))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is the whole process that becomes nice")
def test_a_password_is_checked_behind_everything_else_the_process_does() -> None:
    hasher = BcryptHasher(_KEYRING, rounds=4)
    assert hasher.verify(Secret("correct horse"), hasher.hash(Secret("correct horse")))
    checking = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("password_")]
    assert {os.getpriority(os.PRIO_PROCESS, one or 0) for one in checking} == {min(os.nice(0) + 15, 19)}
