"""An operator's policy may lose messages: a worker warns of it at its start."""

from __future__ import annotations

import json
import shutil
import ssl
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from kombu import Connection
from structlog.testing import capture_logs

from backend.program import Program
from tasks.lanes import DEAD_LETTERS, conf_of
from tasks.policies import queues_at, warn_of_policies
from tasks.topology import declare_topology
from tests import certificates
from tests.broker import RabbitMQ, is_installed
from tests.proxy import Proxy
from tests.settings import settings_with
from tests.worker import eventually

_POLICIES: dict[str, dict[str, Any]] = {
    "users.hashing": {"message-ttl": 60000},
    "users.commands": {"expires": 600000},
    "notifications.mail": {"max-length": 10},  # the lane itself says that it refuses what is too much
    DEAD_LETTERS: {"max-length": 10},
    "of-another-program": {"message-ttl": 60000},
}
_OURS = ("users.", "notifications.", DEAD_LETTERS)


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQ]:
    if not is_installed():
        pytest.skip("no rabbitmq-server is installed")
    directory = Path(tempfile.mkdtemp(prefix="promise-rabbitmq-"))
    node = RabbitMQ(directory, management=True)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def url(node: RabbitMQ) -> Iterator[str]:
    """A virtual host with every queue of the program."""
    with node.vhost() as url:
        with Connection(url) as connection:
            declare_topology(connection, conf_of(Program(settings_with(broker_url=url)))["task_queues"])
        yield url


@pytest.mark.rabbitmq
def test_a_worker_warns_of_policies_that_lose_messages(node: RabbitMQ, url: str) -> None:
    vhost = url.rpartition("/")[2]
    with Connection(url) as connection, connection.channel() as channel:
        quorum = {"x-queue-type": "quorum"}
        channel.queue_declare("of-another-program", durable=True, auto_delete=False, arguments=quorum)
    for queue, definition in _POLICIES.items():
        _set_policy(node, f"{vhost}/{queue}", f"^{queue}$", definition)
    eventually(lambda: {one.get("policy") for one in queues_at(node.management_url, vhost)} >= set(_POLICIES))

    with capture_logs() as said:
        warn_of_policies(settings_with(broker_url=url, broker_management_url=node.management_url), _OURS)
    assert {(line["queue"], line["policy"], line["reason"].partition(":")[0]) for line in said} == {
        ("users.hashing", "users.hashing", "message-ttl"),
        ("users.commands", "users.commands", "expires"),
        (DEAD_LETTERS, DEAD_LETTERS, "max-length"),
    }


@pytest.mark.rabbitmq
@pytest.mark.parametrize(("name", "said"), [("localhost", []), ("other.example", ["policies of RabbitMQ not checked"])])
def test_over_tls_the_plugin_proves_its_name_to_the_authority_of_the_broker(
    node: RabbitMQ, url: str, tmp_path: Path, name: str, said: list[str]
) -> None:
    certificate = certificates.self_signed(tmp_path, name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with Proxy("127.0.0.1", urlsplit(node.management_url).port or 0, tls=context) as proxy:
        management = f"https://guest:guest@localhost:{proxy.port}"
        settings = settings_with(broker_url=url, broker_management_url=management, broker_ca_file=str(certificate))
        with capture_logs() as lines:
            warn_of_policies(settings, _OURS)
    assert [line["event"] for line in lines] == said


@pytest.mark.rabbitmq
def test_the_plugin_is_asked_directly_whatever_proxy_the_environment_names(
    node: RabbitMQ, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would be told the password."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(queues_at(node.management_url, url.rpartition("/")[2]), list)


def _set_policy(node: RabbitMQ, path: str, pattern: str, definition: Mapping[str, Any]) -> None:
    """Over HTTP: rabbitmqctl takes a second for each."""
    parts = urlsplit(node.management_url)
    account = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    request = Request(
        f"http://{parts.hostname}:{parts.port}/api/policies/{path}",
        json.dumps({"pattern": pattern, "definition": definition, "apply-to": "queues"}).encode(),
        {"Authorization": f"Basic {account}", "Content-Type": "application/json"},
        method="PUT",
    )
    with urlopen(request):  # noqa: S310 - the node's own address
        pass


def test_a_worker_says_that_it_could_not_look_and_goes_on() -> None:
    settings = settings_with(broker_url="amqp://u:p@127.0.0.1/", broker_management_url="http://u:p@127.0.0.1:9")
    with capture_logs() as said:
        warn_of_policies(settings, _OURS)
    assert [line["event"] for line in said] == ["policies of RabbitMQ not checked"]
