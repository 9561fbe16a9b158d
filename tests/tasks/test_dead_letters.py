"""The recorder on RabbitMQ: a dead letter is in the table, once, before it leaves its queue."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from uuid import UUID, uuid4

import kombu.pools
import pytest
from amqp import Message

from backend.contexts.operators.infrastructure import dead_letters as letters
from backend.contexts.operators.infrastructure.dead_letters import DeadLetterView
from backend.kernel.delivery.dead_letters import DeadLetter
from backend.kernel.delivery.envelope import Envelope, Headers
from backend.kernel.delivery.receive import Receiver
from backend.program import Process
from tasks.app import ProgramApp, make_app
from tasks.topology import declare_topology
from tests.tasks.conftest import Broker, app_on
from tests.tasks.test_malformed import _GOOD, _MALFORMED

LANE = "users.hashing"
DEAD = "dead-letters"


@dataclass
class Recorder:
    """The scheduled task, run in this process."""

    app: ProgramApp

    @property
    def process(self) -> Process:
        return self.app.process()

    def run(self) -> None:
        self.app.tasks["maintenance.record_dead_letters"]()

    def command(
        self, broker: Broker, *, task: str = "users.create_user", foreign: Mapping[str, Any] = {}, **body: Any
    ) -> UUID:
        """Put a command of ours into the lane, as our publisher does; or a copy of it with foreign headers."""
        headers = Headers("r1", accepted_at="2026-01-01T00:00:00+00:00")
        sent = self.process.resources.sealer.signed(Envelope(uuid4(), task, LANE, body, headers))
        written = {"task": task, "id": str(sent.id), "lang": "py", "envelope": sent.headers.as_json(), **foreign}
        broker.publish([[], body, {}], LANE, serializer="json", headers=written)
        return sent.id

    def letters(self) -> list[DeadLetterView]:
        read = self.process.resources.database.read
        listed = read(lambda connection: letters.listing(connection, 100)).items
        return [read(partial(letters.dead_letter, dead_letter_id=letter.id)) for letter in listed]

    def letter(self) -> DeadLetterView:
        (found,) = self.letters()
        return found


@pytest.fixture
def recorder(rabbitmq_url: str, clean_database: str) -> Iterator[Recorder]:
    app = app_on(rabbitmq_url, database_url=clean_database)
    with app.connection_for_write() as connection:
        declare_topology(connection, app.conf.task_queues)
        for name in (DEAD, LANE):
            connection.default_channel.queue_purge(name)
    yield Recorder(app)
    kombu.pools.reset()
    app.close_process()


def die(broker: Broker, *, requeue: bool = False) -> None:
    """Take what lies in the lane as a worker does, and reject it; or give it back as a killed worker does."""
    while (message := take(broker)) is not None:
        broker.channel.basic_reject(message.delivery_tag, requeue)


def take(broker: Broker) -> Message | None:
    return broker.channel.basic_get(LANE)


def test_a_message_that_kills_its_workers_is_recorded_and_its_operation_failed(
    broker: Broker, recorder: Recorder
) -> None:
    identity = recorder.command(broker, name="Ada")
    die(broker, requeue=True)
    recorder.run()
    letter = recorder.letter()
    assert (letter.message_id, letter.task, letter.lane, letter.reason) == (
        identity,
        "users.create_user",
        LANE,
        "delivery_limit",
    )
    assert (letter.body, letter.request_id, letter.operation) == ({"name": "Ada"}, "r1", "failed")
    assert broker.waiting_in(DEAD) == 0


def test_an_unknown_task_keeps_its_message_and_fails_its_operation(broker: Broker, recorder: Recorder) -> None:
    recorder.command(broker, task="users.unheard_of", name="Ada")
    die(broker)
    recorder.run()
    letter = recorder.letter()
    assert (letter.reason, letter.body, letter.operation) == ("unknown_task", {"name": "Ada"}, "failed")


def test_an_unknown_task_of_a_stranger_can_never_be_replayed(broker: Broker, recorder: Recorder) -> None:
    """A replay is signed, and a later release may have a handler of that name."""
    headers = {"task": "users.unheard_of", "id": str(uuid4()), "lang": "py", "actor": str(uuid4())}
    broker.publish([[], {"name": "Ada"}, {}], LANE, serializer="json", headers=headers)
    die(broker)
    recorder.run()
    assert (recorder.letter().task, recorder.letter().reason) == ("users.unheard_of", "forged")


@pytest.mark.parametrize("foreign", [{"eta": "soon"}, {"retries": "x"}, {"shadow": "users.other"}])
def test_a_copy_that_celery_cannot_process_does_not_end_the_operation(
    broker: Broker, recorder: Recorder, foreign: dict[str, Any]
) -> None:
    recorder.command(broker, name="Ada", foreign=foreign)
    die(broker)
    recorder.run()
    assert recorder.letter().operation is None


def test_whatever_messages_look_like_they_are_recorded(broker: Broker, recorder: Recorder) -> None:
    for name, message in _MALFORMED.items():
        identity = {"id": str(uuid4())} if message["headers"].get("id") == _GOOD["id"] else {}
        broker.publish(routing_key=LANE, **{**message, "headers": {**message["headers"], **identity, "mark": name}})
    die(broker)
    recorder.run()
    assert {letter.headers["mark"] for letter in recorder.letters()} == set(_MALFORMED)
    assert broker.waiting_in(DEAD) == 0


@pytest.mark.parametrize("body", [b"\xff\x00hello", json.dumps([[], {"name": "\x00"}, {}]).encode()])
def test_what_cannot_be_kept_as_json_is_kept_byte_for_byte(broker: Broker, recorder: Recorder, body: bytes) -> None:
    headers = {"task": "users.create_user", "id": str(uuid4())}
    broker.publish(body, LANE, content_type="application/json", content_encoding="utf-8", headers=headers)
    die(broker)
    recorder.run()
    letter = recorder.letter()
    assert letter.raw is not None
    assert (base64.b64decode(letter.raw), letter.body, letter.operation) == (body, None, None)


def test_of_a_huge_message_the_beginning_is_kept(broker: Broker, recorder: Recorder) -> None:
    """Reading it as JSON would take the recorder's whole time, again and again."""
    body = json.dumps([[], {"numbers": [1] * 2**20}, {}]).encode()
    headers = {"task": "users.create_user", "id": str(uuid4())}
    broker.publish(body, LANE, content_type="application/json", content_encoding="utf-8", headers=headers)
    die(broker)
    recorder.run()
    letter = recorder.letter()
    assert letter.raw is not None
    assert (letter.reason, letter.error) == ("malformed", "too large")
    assert body.startswith(base64.b64decode(letter.raw))
    assert len(letter.raw) < len(body)


def test_a_recorder_whose_time_is_over_leaves_the_rest_to_the_next_run(
    broker: Broker, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep must not wait for its process, however slowly messages are recorded."""
    monkeypatch.setattr("tasks.dead_letters._LONGEST_RUN", 0)
    for _ in range(3):
        recorder.command(broker, task="nobody.knows")
    die(broker)
    for left in (2, 1, 0):
        recorder.run()
        assert broker.waiting_in(DEAD) == left


class DyingReceiver(Receiver):
    """Of a recorder that is killed after its commit, before it acknowledges."""

    def bury(self, letter: DeadLetter) -> None:
        super().bury(letter)
        raise MemoryError


class DyingProcess(Process):
    @cached_property
    def receiver(self) -> Receiver:
        return DyingReceiver(**vars(super().receiver))


@pytest.mark.parametrize("name", ["no headers", "an unknown task"])
def test_a_recorder_killed_before_it_acknowledged_records_nothing_twice(
    broker: Broker, recorder: Recorder, name: str
) -> None:
    broker.publish(routing_key=LANE, **_MALFORMED[name])
    die(broker)
    program = recorder.app.program
    dying = Recorder(make_app(program, partial(DyingProcess, program)))
    dying.run()
    dying.app.close_process()
    (first,) = recorder.letters()
    recorder.run()
    assert recorder.letters() == [first]
    assert broker.waiting_in(DEAD) == 0


def test_dead_letters_stay_in_the_queue_while_the_database_is_away(broker: Broker, recorder: Recorder) -> None:
    recorder.command(broker, name="Ada")
    die(broker)
    without_database = Recorder(app_on(broker.url, database_url="postgresql://127.0.0.1:1/"))
    without_database.run()
    without_database.app.close_process()
    assert broker.waiting_in(DEAD) == 1
    recorder.run()
    assert recorder.letter().reason == "rejected"


def test_the_recorder_outlives_its_connection(broker: Broker, recorder: Recorder) -> None:
    recorder.run()
    with recorder.app.pool.acquire() as connection:
        connection.connection.transport.sock.close()
    recorder.command(broker, name="Ada")
    die(broker)
    recorder.run()
    recorder.run()
    assert recorder.letter().body == {"name": "Ada"}


@pytest.mark.usefixtures("embedded_broker")
def test_without_rabbitmq_there_is_nothing_to_drain() -> None:
    Recorder(app_on("filesystem://")).run()
