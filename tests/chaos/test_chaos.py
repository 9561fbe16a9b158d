"""The short version of `make chaos`: nothing accepted is lost, nothing is done twice, nothing stays pending."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.broker import is_installed
from tests.chaos.faults import DUPLICATES
from tests.chaos.run import run
from tests.chaos.subjects import subjects
from tests.chaos.world import World

pytestmark = pytest.mark.timeout(600)  # longer than what it waits for: the patience of the run

_COMMANDS = 60
_SEED = 1


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if not is_installed():
        pytest.skip("no rabbitmq-server is installed")
    with World() as world:
        yield world


@pytest.mark.rabbitmq
@pytest.mark.parametrize("fault", ["kill worker", "kill api", "stop broker", "stop database", DUPLICATES])
def test_the_promise_is_kept_under(world: World, fault: str) -> None:
    subject, *_ = subjects().values()
    result = run(world, fault, subject(), _COMMANDS, _SEED)
    assert result.accepted == result.carried_out == _COMMANDS, str(result)
    assert result.kept, str(result)
