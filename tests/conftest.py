"""What all tests share: the servers they need, and a word about those that were not there."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.deployment import examples

_HERE = Path(__file__).parent
pytest_plugins = [
    f"tests.{name}"
    for name in ("postgres", "worker", "broker", "program", "standby", "service")
    if (_HERE / f"{name}.py").exists()
]

for _name in examples():  # what the developer has set for the program must not change what is tested
    os.environ.pop(_name, None)

_REQUIRED = os.environ.get("REQUIRE_RABBITMQ") == "1"
_MISSING = "no RabbitMQ: set TEST_BROKER_URL, start one on 127.0.0.1:5672, or install rabbitmq-server"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"rabbitmq_url", "private_rabbitmq"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("rabbitmq")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and _REQUIRED and item.get_closest_marker("rabbitmq"):
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_RABBITMQ=1, but {_MISSING}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report.nodeid for report in terminalreporter.stats.get("skipped", []) if "rabbitmq" in report.keywords]
    if skipped:
        terminalreporter.section("delivery was NOT tested", sep="=", red=True)
        terminalreporter.line(f"{len(skipped)} tests were skipped, {_MISSING}:")
        for name in skipped:
            terminalreporter.line(f"  {name}")
