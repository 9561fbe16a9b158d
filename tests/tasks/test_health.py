"""When a worker says of its pool that it hangs: while messages wait and no process works, for a minute."""

from __future__ import annotations

from types import SimpleNamespace

from tasks.health import Progress
from tasks.reporting import Standstill


def pool_of(standstill: Standstill) -> str:
    consumer = SimpleNamespace(connection=None, pool=None, standstill=standstill)
    return Progress(consumer).state()["pool"]


def test_a_pool_hangs_after_a_minute_without_any_work_and_not_once_a_process_works() -> None:
    still = True
    standstill = Standstill(lambda: still)
    while standstill.look() < 60:
        assert pool_of(standstill) == "ok"
    assert pool_of(standstill) == "hangs"
    still = False  # though nobody has looked since: PostgreSQL may be away
    assert pool_of(standstill) == "ok"
    assert standstill.look() == 0
    still = True
    assert standstill.look() < 60
    assert pool_of(standstill) == "ok"
