"""Batches on RabbitMQ: what waits in a lane goes to a process together, and nothing suffers from its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.conftest import Broker
from tests.worker import WorkerProcess, eventually


class Lane:
    """A lane that is filled while the worker's only process is busy."""

    def __init__(self, broker: Broker, worker: WorkerProcess) -> None:
        self._broker, self._worker = broker, worker
        self._first = broker.task(do="wait until told")
        worker.await_log(f"waits {self._first}")

    def put(self, *deeds: str, name: str = "sample.work") -> list[str]:
        """Messages that say this; the worker has taken them."""
        sent = [self._broker.task(name, do=deed) for deed in deeds]
        eventually(lambda: self._broker.waiting_in("sample.commands") == 0)
        return sent

    def go_on(self) -> None:
        """Let the process take what waits."""
        (Path(self._worker.environment["SAMPLE_DIRECTORY"]) / f"go on {self._first}").touch()


@pytest.fixture
def lane(broker: Broker, sample_worker: WorkerProcess) -> Lane:
    return Lane(broker, sample_worker)


def test_what_waits_in_a_lane_goes_to_a_process_together(
    broker: Broker, sample_worker: WorkerProcess, lane: Lane
) -> None:
    waiting = lane.put(*["succeed"] * 18)
    letter = broker.task("sample.write", "sample.mail", do="succeed")
    lane.go_on()
    sample_worker.await_log(_batch(*waiting[:16]))
    sample_worker.await_log(_batch(*waiting[16:]))
    sample_worker.await_log(f"done {letter}")
    sample_worker.restart()
    later = broker.task(do="succeed")
    sample_worker.await_log(f"done {later}")
    assert not any(f"received {one}" in sample_worker.logs() for one in waiting), "not acknowledged"


def test_a_message_that_kills_its_process_is_a_dead_letter_without_its_neighbours(
    broker: Broker, sample_worker: WorkerProcess, lane: Lane
) -> None:
    before, killer, after = waiting = lane.put("succeed", "kill the process", "succeed")
    lane.go_on()
    sample_worker.await_log(_batch(*waiting))
    dead = broker.next_in("dead-letters").properties["application_headers"]
    assert (dead["id"], dead["x-first-death-reason"]) == (killer, "delivery_limit")
    for one in (before, after):
        sample_worker.await_log(f"done {one}")
        assert sample_worker.logs().count(f"received {one}") == 1


def test_a_message_that_takes_too_long_costs_its_neighbours_nothing(sample_worker: WorkerProcess, lane: Lane) -> None:
    waiting = lane.put("hang once", "succeed", name="sample.hurry")
    lane.go_on()
    sample_worker.await_log(_batch(*waiting))
    for one in waiting:
        sample_worker.await_log(f"done {one}")
        assert sample_worker.logs().count(f"received {one}") == 1


def test_a_fault_is_retried_for_its_message_only(broker: Broker, sample_worker: WorkerProcess, lane: Lane) -> None:
    good, bad = lane.put("succeed", "fail")
    lane.go_on()
    assert broker.next_in("dead-letters").properties["application_headers"]["id"] == bad
    assert sample_worker.logs().count(f"received {good}") == 1
    assert sample_worker.logs().count(f"received {bad}") == 2


def test_what_a_killed_worker_had_is_processed_alone(sample_worker: WorkerProcess, lane: Lane) -> None:
    waiting = lane.put(*["succeed"] * 3)
    sample_worker.kill()
    lane.go_on()
    sample_worker.restart()
    for one in waiting:
        sample_worker.await_log(f"done {one}")
    assert not sample_worker.has_said(_batch(*waiting))


def _batch(*ids: str) -> str:
    return "batch " + " ".join(sorted(ids)) + "\n"
