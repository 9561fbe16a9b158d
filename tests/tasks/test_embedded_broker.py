"""The broker of files: without RabbitMQ, too, what was accepted reaches a worker, once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Producer, Queue

from tests.tasks.conftest import app_on

MESSAGES = 3000
PATIENCE = 120.0
_END = -1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("messages", "processed", "control"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_two_readers_get_every_message_once_while_more_are_written(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    everybody = context.Barrier(3)
    with ProcessPoolExecutor(2, context, initializer=_meet, initargs=(everybody,)) as pool:
        readers = [pool.submit(_read_to_the_end, folder) for _ in range(2)]
        everybody.wait(PATIENCE)
        _write(folder, (*range(MESSAGES), _END, _END))
        read = [number for reader in readers for number in reader.result()]

    assert sorted(read) == list(range(MESSAGES))
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["commands.exchange"]


def test_messages_are_read_in_the_order_in_which_they_were_written(folder: Path) -> None:
    _write(folder, (*range(50), _END))

    assert _read_to_the_end(folder) == list(range(50))


def test_a_message_that_is_still_being_written_is_not_read(folder: Path) -> None:
    with _connected(folder) as connection:
        lane = _lane(folder)(connection.default_channel)
        lane.declare()
        (folder / f"messages/.1_a.{lane.name}.msg").touch()

        assert lane.get() is None


@pytest.mark.usefixtures("embedded_broker")
def test_without_rabbitmq_the_program_runs_on_it(caplog: pytest.LogCaptureFixture) -> None:
    connection = app_on("filesystem://").connection_for_write()

    assert type(connection.clone().default_channel).__module__ == "tasks.embedded_broker"
    assert caplog.messages == []


def _meet(everybody: Barrier) -> None:
    everybody.wait(PATIENCE)


def _connected(folder: Path) -> Connection:
    return Connection(
        "filesystem://localhost",
        transport="tasks.embedded_broker:Transport",
        transport_options={
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "processed_folder": str(folder / "processed"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.001,
        },
    )


def _lane(folder: Path) -> Queue:
    """A lane of its own for each test: a process remembers which bindings it has written."""
    return Queue(folder.name, Exchange("commands", type="topic"), routing_key=folder.name)


def _write(folder: Path, numbers: Iterable[int]) -> None:
    lane = _lane(folder)
    with _connected(folder) as connection:
        lane(connection.default_channel).declare()
        producer = Producer(connection, lane.exchange, lane.routing_key)
        for number in numbers:
            producer.publish(number)


def _read_to_the_end(folder: Path) -> list[int]:
    read: list[int] = []
    with _connected(folder) as connection, connection.Consumer(_lane(folder), no_ack=True) as consumer:
        consumer.register_callback(lambda number, _message: read.append(number))
        while _END not in read:
            connection.drain_events()
    return read[:-1]
