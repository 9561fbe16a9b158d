"""The whole program on RabbitMQ and PostgreSQL, shared by the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_celery import CeleryBrokerCluster, CeleryWorkerCluster

from tests.broker import forget_queues
from tests.flow.client import Client
from tests.flow.programs import ApiProcess
from tests.worker import WorkerProcess, broker_node, environment, worker_node


@pytest.fixture(scope="package")
def rabbitmq_url(rabbitmq_url: str) -> str:
    """Without what the tests of another directory left in its queues."""
    forget_queues(rabbitmq_url)
    return rabbitmq_url


@pytest.fixture(scope="package")
def settings(rabbitmq_url: str, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the program's processes."""
    mail = tmp_path_factory.mktemp("mail")
    return environment(BROKER_URL=rabbitmq_url, DATABASE_URL=database_url, MAIL_URL=f"file:{mail}")


@pytest.fixture(scope="package")
def api_process(settings: dict[str, str]) -> Iterator[ApiProcess]:
    with ApiProcess(settings) as process:
        yield process


@pytest.fixture(scope="package")
def worker_process(settings: dict[str, str]) -> Iterator[WorkerProcess]:
    with WorkerProcess(settings, "--pool", "prefork", "--concurrency", "2") as process:
        yield process


@pytest.fixture
def api(api_process: ApiProcess, worker: WorkerProcess, clean_database: str) -> Client:
    """The API, with a worker behind it and an empty database."""
    return api_process.client


@pytest.fixture
def worker(worker_process: WorkerProcess) -> WorkerProcess:
    """The worker, started again if the test before killed it."""
    if not worker_process.running:
        worker_process.start()
        worker_process.ready()
    return worker_process


@pytest.fixture
def celery_worker_cluster(worker: WorkerProcess) -> CeleryWorkerCluster:
    """pytest-celery's workers: ours, without Docker."""
    return CeleryWorkerCluster(worker_node(worker))


@pytest.fixture
def celery_broker_cluster(rabbitmq_url: str) -> CeleryBrokerCluster:
    """pytest-celery's broker: the one of the test run."""
    return CeleryBrokerCluster(broker_node(rabbitmq_url))


@pytest.fixture
def celery_backend_cluster() -> None:
    """There is none: outcomes are in PostgreSQL."""
