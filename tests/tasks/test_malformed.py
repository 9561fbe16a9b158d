"""Messages that no handler can carry out: they end in the dead letters, and the worker stays up."""

from __future__ import annotations

import json
import zlib
from typing import Any
from uuid import uuid4

import pytest

from tests.tasks.conftest import Broker
from tests.worker import WorkerProcess

_GOOD = {"task": "sample.work", "id": "0190a0a0-0000-7000-8000-000000000000", "lang": "py"}
_BODY = json.dumps([[], {"do": "succeed"}, {}])
_CALLBACK = {"task": "sample.work", "args": [], "kwargs": {"do": "succeed"}, "options": {}, "immutable": True}
_CANARY = "cana" + "ry-in-a-malformed-message"


def _message(body: str | bytes = _BODY, content_type: str = "application/json", **headers: Any) -> dict[str, Any]:
    encoding = "binary" if isinstance(body, bytes) else "utf-8"
    return {"body": body, "content_type": content_type, "content_encoding": encoding, "headers": {**_GOOD, **headers}}


_MALFORMED = {
    "an unknown task": _message(task="sample.unknown"),
    "no headers": {**_message(), "headers": {}},
    "no id": {**_message(), "headers": {"task": "sample.work"}},
    "a number as id": _message(id=5),
    "an id that is no UUID": _message(id="five"),
    "a number as task": _message(task=5),
    "a list as task": _message(task=["sample.work"]),
    "a malformed time limit": _message(timelimit="soon"),
    "a malformed eta": _message(eta="soon"),
    "a malformed expiry": _message(expires="soon"),
    "the name of another task": _message(shadow="maintenance.sweep_outbox", expires="2001-01-01T00:00:00+00:00"),
    "a text as number of tries": _message(retries="x"),
    "fewer tries than none, which would go on for ever": _message(retries=-(2**40)),
    "more tries than can be counted further": _message(retries=2**63 - 1),
    "more bytes than a message may have": _message(json.dumps([[], {"do": "succeed", "more": [1] * 2**19}, {}])),
    "a compressed body": _message(zlib.compress(_BODY.encode()), compression="application/x-gzip"),
    "tasks to start afterwards": _message(json.dumps([[], {"do": "succeed"}, {"callbacks": [_CALLBACK]}])),
    "pickle": _message(b"cos\nsystem\n(S'true'\ntR.", "application/x-python-serialize"),
    "yaml": _message("- []", "application/x-yaml"),
    "an unknown content type": _message("x", "application/x-unknown"),
    "plain text": {**_message("hello", "text/plain"), "headers": {}},
    "bytes": {**_message(b"\x00\x01", "application/octet-stream"), "headers": {}},
    "no JSON": _message("{"),
    "no JSON and no headers": {**_message("{"), "headers": {}},
    "invalid UTF-8": {**_message(b"\xff\xfe"), "content_encoding": "utf-8"},
    "an unknown compression": _message(compression="lz99"),
    "a corrupt compression": _message(compression="application/x-gzip"),
    "a number as body": _message("5"),
    "null as body": _message("null"),
    "a text as body": _message('"abc"'),
    "an empty list as body": _message("[]"),
    "a body without its third part": _message("[[], {}]"),
    "an object as body": _message('{"x": 1}'),
    "a body of the first protocol": {
        **_message(json.dumps({"task": "sample.work", "id": "1", "args": [], "kwargs": {}})),
        "headers": {},
    },
    "a list as task of the first protocol": {
        **_message(json.dumps({"task": ["sample.work"], "id": "1", "args": [], "kwargs": {}})),
        "headers": {},
    },
    "positional arguments": _message('[[1, 2], {"do": "succeed"}, {}]'),
    "a number as arguments": _message("[5, {}, {}]"),
    "a list as keyword arguments": _message("[[], [], {}]"),
    "a number as embedded": _message('[[], {"do": "succeed"}, 5]'),
    "a keyword that is the task's own": _message('[[], {"self": 1}, {}]'),
    "no context": _message(envelope=5),
    "an unknown deed, which is a fault": _message(
        json.dumps([[], {"do": "no such deed"}, {}]), envelope={"attempts": 9}
    ),
}


@pytest.mark.parametrize("message", _MALFORMED.values(), ids=_MALFORMED.keys())
def test_a_malformed_message_is_dead_lettered_and_the_worker_lives(
    broker: Broker, sample_worker: WorkerProcess, message: dict[str, Any]
) -> None:
    mark = uuid4().hex
    broker.publish(**{**message, "headers": {**message["headers"], "mark": mark}})
    assert broker.next_in("dead-letters").properties["application_headers"]["mark"] == mark
    after = broker.task(do="succeed")
    sample_worker.await_log(f"done {after}")


def test_a_compressed_message_is_not_decompressed(broker: Broker, sample_worker: WorkerProcess) -> None:
    since = sample_worker.mark()
    broker.publish(**_MALFORMED["a compressed body"])
    broker.next_in("dead-letters")
    line = json.loads(sample_worker.await_log("message dead-lettered", since))
    assert line["reason"] == "Compressed"


_OBEYED_BY_CELERY = {
    "a time to wait for": {"eta": "2099-01-01T00:00:00+00:00"},
    "a time that no clock shows": {"eta": "0001-01-01T00:00:00+00:00"},
    "a time after which it is of no use": {"expires": "2001-01-01T00:00:00+00:00"},
    "a time limit that nothing meets": {"timelimit": [0.001, 0.001]},
}


@pytest.mark.parametrize("headers", _OBEYED_BY_CELERY.values(), ids=_OBEYED_BY_CELERY.keys())
def test_what_no_signature_covers_decides_nothing(
    broker: Broker, sample_worker: WorkerProcess, headers: dict[str, Any]
) -> None:
    since, identity = sample_worker.mark(), str(uuid4())
    broker.publish(**_message(id=identity, **headers))
    sample_worker.await_log(f"done {identity}", since)
    sample_worker.await_log(f"done {broker.task(do='succeed')}", since)


def test_the_log_of_a_malformed_message_does_not_show_its_body(broker: Broker, sample_worker: WorkerProcess) -> None:
    broker.publish(**_message(json.dumps({"password": _CANARY})))
    broker.publish(**_message(json.dumps([[], {"do": "succeed", "canary": _CANARY}, {}]), task="sample.unknown"))
    for _ in range(2):
        broker.next_in("dead-letters")
    after = broker.task(do="succeed")
    sample_worker.await_log(f"done {after}")
    assert _CANARY not in sample_worker.logs()


def test_the_log_of_a_message_that_is_not_ours_names_no_other_message(
    broker: Broker, sample_worker: WorkerProcess
) -> None:
    sample_worker.await_log(f"done {broker.task(do='succeed')}")
    since = sample_worker.mark()
    broker.publish(**_message(envelope=5))
    broker.next_in("dead-letters")
    line = json.loads(sample_worker.await_log("message dead-lettered", since))
    assert (line["reason"], line["operation_id"], line["request_id"]) == ("forged", _GOOD["id"], "")
