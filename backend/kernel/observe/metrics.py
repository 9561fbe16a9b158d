"""Metrics for Prometheus, of all processes of the API, or of a worker, together.

With several processes set `PROMETHEUS_MULTIPROC_DIR` to an existing, empty directory of this run before any of them
starts: each process writes its metrics there, and any of them answers a scrape for all. Without it a scrape sees the
process that answers it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from backend.kernel.observe.memory import memory_of
from backend.kernel.observe.metric_files import keep_within_the_disk

if TYPE_CHECKING:
    from backend.kernel.delivery.outbox import Backlog

_log = structlog.get_logger(__name__)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
_REGISTRY = CollectorRegistry()

keep_within_the_disk()
disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series per counter that nobody asks for


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    # Summed over the running processes. One that only imports this module adds 0.
    return Gauge(name, text, labels, registry=_REGISTRY, multiprocess_mode="livesum")


_requests = Histogram(
    "http_request_duration_seconds",
    "Time to answer a request.",
    ["method", "rule", "status"],
    buckets=_SECONDS,
    registry=_REGISTRY,
)
_accepted = Counter("commands_accepted", "Commands that can no longer be lost.", ["command", "way"], registry=_REGISTRY)
_refused = Counter("commands_refused", "Commands answered with 503.", ["command", "reason"], registry=_REGISTRY)
_waiting = _gauge("waiting_slots_in_use", "Requests that wait for an outcome now.")
_breakers = _gauge("breakers_open", "Processes that found that server away when they last tried.", "server")
_listeners = _gauge("listeners", "API processes that should receive notifications of finished operations.")
_connected = _gauge("listeners_connected", "API processes that receive notifications of finished operations now.")
_LONG = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_waited = Histogram(
    "message_wait_seconds",
    "From acceptance, or from being written, to the worker's taking it; first attempts only.",
    ["lane"],
    buckets=_LONG,
    registry=_REGISTRY,
)
_commands = Histogram(
    "command_seconds", "From acceptance to the outcome.", ["command", "status"], buckets=_LONG, registry=_REGISTRY
)
_handlers = Histogram(
    "handler_seconds", "Time to process a message once.", ["task"], buckets=_SECONDS, registry=_REGISTRY
)
_published = Histogram(
    "publish_seconds",
    "From a message's encoding to the broker's confirm.",
    buckets=_SECONDS,
    registry=_REGISTRY,
)
_transactions = Histogram(
    "transaction_seconds", "From a transaction's first statement to its commit.", buckets=_SECONDS, registry=_REGISTRY
)
_connections = _gauge("database_connections_in_use", "Connections taken from the pool now.", "pool")
reads_in_use, writes_in_use = _connections.labels("reads"), _connections.labels("writes")
"""Of the two pools. Set directly: every message and every request takes connections."""
_refusals = Counter("requests_refused", "Requests answered with 401, 403 or 429.", ["problem"], registry=_REGISTRY)
_messages = Counter("messages", "Deliveries, by how they ended.", ["task", "outcome"], registry=_REGISTRY)
_requests_seen: dict[tuple[str, str | None, int], Histogram] = {}
"""Saves the lookup of labels on every request, which costs more than the observation."""


def observe_request(method: str, rule: str | None, status: int, seconds: float) -> None:
    """Count one answered request.

    Args:
        method: the HTTP method of the request.
        rule: the route's rule; None if no route matched. Never the path, which would create a series per resource.
        status: the HTTP status.
        seconds: from the request's arrival to its answer.
    """
    key = (method, rule, status)
    child = _requests_seen.get(key)
    if child is None:
        child = _requests.labels(method if method in _METHODS else "other", rule or "none", str(status))
        if method in _METHODS:
            # Only known methods are cached: a client can invent any number of others.
            _requests_seen[key] = child
    child.observe(seconds)


def command_accepted(command: str, way: str) -> None:
    """Count a command that can no longer be lost, by its wire name and whether broker or spool has it."""
    _accepted_of(command, way).inc()


@cache
def _accepted_of(command: str, way: str) -> Counter:
    """Saves the lookup of labels, as `_requests_seen`."""
    return _accepted.labels(command, way)


def command_refused(command: str, reason: str) -> None:
    """Count a command answered with 503: its lane is full (`lane_full`), or neither broker nor spool took it
    (`not_stored`).
    """
    _refused.labels(command, reason).inc()


def message_taken(lane: str, seconds: float) -> None:
    """Observe how long a message had waited when a worker took it."""
    _waited.labels(lane).observe(max(seconds, 0))


def message_ended(task: str, outcome: str, seconds: float | None = None) -> None:
    """Count a delivery: `succeeded`, `refused`, `retried`, `dead` or `duplicate`.

    Args:
        seconds: that processing took, if it was processed.
    """
    _messages.labels(task, outcome).inc()
    if seconds is not None:
        _handlers.labels(task).observe(seconds)


def command_ended(command: str, status: str, seconds: float) -> None:
    """Observe the time between acceptance and outcome of a command."""
    _commands.labels(command, status).observe(max(seconds, 0))


def message_published(seconds: float) -> None:
    """Observe how long the broker's confirm took."""
    _published.observe(seconds)


def transaction_committed(seconds: float) -> None:
    """Observe how long a transaction of a message or a synchronous command was open."""
    _transactions.observe(seconds)


def request_refused(problem: str) -> None:
    """Count a request that was refused for who asked, or how often: a sign-in, a role, a limit."""
    _refusals.labels(problem).inc()


def set_waiting_slots(in_use: int) -> None:
    """Set how many requests of this process wait for an outcome now."""
    _waiting.set(in_use)


def set_breaker_open(server: str, *, is_open: bool) -> None:
    """Set whether the circuit breaker of this process for that server is open."""
    _breakers.labels(server).set(is_open)


def set_listener_connected(connected: bool) -> None:  # noqa: FBT001 - the figure itself
    """Set whether this process receives notifications now. Call it once at the start, with False."""
    _listeners.set(1)
    _connected.set(connected)


def register_backlog(read: Callable[[], Backlog]) -> None:
    """Register `read` to be called at each scrape of this process. It may raise; it should take seconds at most."""
    _backlog.read = read


@dataclass(frozen=True)
class LaneFigures:
    """A lane at the time of a scrape; None for what cannot be known.

    Attributes:
        behind_seconds: since work last began, while messages wait; 0 while it begins, and while the lane is paused.
    """

    name: str
    ready: int | None
    unacked: int
    consumers: int | None
    paused: bool
    last_taken_seconds: float | None
    delayed: int
    behind_seconds: float


@dataclass(frozen=True)
class Lanes:
    """The lanes, and the commands that operators paused on their own; none while the database is away.

    Attributes:
        broker_up: whether the broker answered.
        clock_errors: how many seconds the clock of each process is off, by its name.
    """

    lanes: Sequence[LaneFigures]
    paused_commands: Sequence[str]
    broker_up: bool
    clock_errors: Mapping[str, float]


def register_lanes(read: Callable[[], Lanes]) -> None:
    """Register `read` to be called at each scrape of this process. It may raise; it should take a second at most."""
    _lanes.read = read


def register_replica(is_up: Callable[[], bool | None]) -> None:
    """Register `is_up` to be called at each scrape: whether the replica can be asked; None without one."""
    _replica.is_up = is_up


def metrics_response() -> tuple[bytes, str]:
    """Answer a scrape: the body and its content type. Never raises for a database that is away."""
    body = generate_latest(_processes()) + generate_latest(_memory) + generate_latest(_database)
    return body, CONTENT_TYPE_LATEST


class _BacklogCollector(Collector):
    """Asks the database during a scrape. That it does not answer is a metric, too."""

    read: Callable[[], Backlog] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self.read is None:
            return
        try:
            families = _families(self.read())
        except Exception:  # noqa: BLE001 - whatever keeps it from being read, the other figures still count
            _log.warning("figures of the outbox cannot be read", exc_info=True)
            families = []
        yield GaugeMetricFamily("backlog_up", "1 if the backlog could be read from the database.", bool(families))
        yield from families


class _MemoryCollector(Collector):
    """Asks the system during a scrape."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        used = memory_of(_pids())
        if used is not None:
            text = "Memory of the running processes together; what they share counts once."
            yield GaugeMetricFamily("processes_memory_bytes", text, used)


class _LanesCollector(Collector):
    """Asks broker and database while it is scraped."""

    read: Callable[[], Lanes] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self.read is None:
            return
        messages = GaugeMetricFamily("lane_messages", "Messages of a lane.", labels=["lane", "state"])
        consumers = GaugeMetricFamily("lane_consumers", "Workers that take from a lane.", labels=["lane"])
        paused = GaugeMetricFamily("lane_paused", "1 while an operator has paused the lane.", labels=["lane"])
        age = GaugeMetricFamily("lane_last_taken_age_seconds", "Since work last began.", labels=["lane"])
        text = "Since work last began while messages wait: 0 while it begins, and while the lane is paused."
        behind = GaugeMetricFamily("lane_behind_seconds", text, labels=["lane"])
        command = GaugeMetricFamily("command_paused", "1 for each command that an operator paused.", labels=["command"])
        text = "How far the clock of a worker, or of the API, is from PostgreSQL's, either way."
        clock = GaugeMetricFamily("clock_error_seconds", text, labels=["process"])
        try:
            found = self.read()
            yield GaugeMetricFamily("broker_up", "1 if the broker answered.", found.broker_up)
            for name in found.paused_commands:
                command.add_metric([name], 1)
            for process, seconds in found.clock_errors.items():
                clock.add_metric([process], seconds)
            for lane in found.lanes:
                messages.add_metric([lane.name, "unacked"], lane.unacked)
                messages.add_metric([lane.name, "delayed"], lane.delayed)
                paused.add_metric([lane.name], lane.paused)
                behind.add_metric([lane.name], lane.behind_seconds)
                if lane.ready is not None:
                    messages.add_metric([lane.name, "ready"], lane.ready)
                if lane.consumers is not None:
                    consumers.add_metric([lane.name], lane.consumers)
                if lane.last_taken_seconds is not None:
                    age.add_metric([lane.name], lane.last_taken_seconds)
        except Exception:  # noqa: BLE001 - whatever prevents it from being read, the other metrics still count
            _log.warning("figures of the lanes cannot be read", exc_info=True)
        yield from (messages, consumers, paused, age, behind, command, clock)


class _ReplicaCollector(Collector):
    """Asks for the last check of the replica, which has a thread of its own."""

    is_up: Callable[[], bool | None] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        is_up = self.is_up() if self.is_up else None
        if is_up is not None:
            yield GaugeMetricFamily("replica_up", "1 if the replica answers and keeps up with the primary.", is_up)


def _families(backlog: Backlog) -> list[GaugeMetricFamily]:
    return [
        GaugeMetricFamily("outbox_rows", "Outbox rows not yet relayed to the broker.", backlog.rows),
        GaugeMetricFamily("outbox_oldest_age_seconds", "Age of the oldest outbox row.", backlog.oldest_seconds),
        GaugeMetricFamily("dead_letters_open", "Open dead letters.", backlog.dead_letters),
        GaugeMetricFamily("commits_waiting", "Commits that wait for a standby for over 5 s.", backlog.commits_waiting),
    ]


def _processes() -> CollectorRegistry:
    """Metrics of all API processes together, or of this one only."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not directory:
        return _REGISTRY
    registry = CollectorRegistry()
    if not Path(directory).is_dir():
        return registry  # nothing is counted, as the log says
    _forget_dead_processes(Path(directory))
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
    return registry


def _pids() -> list[int]:
    """The running processes whose metrics these are."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    written = {int(file.stem.rpartition("_")[2]) for file in Path(directory).glob("*_*.db")} if directory else set()
    return [pid for pid in written | {os.getpid()} if _alive(pid)]


def _forget_dead_processes(directory: Path) -> None:
    """Remove the gauges of killed processes: an open breaker or a taken slot would stay for ever."""
    pids = {int(file.stem.rpartition("_")[2]) for file in directory.glob("gauge_live*_*.db")}
    for pid in pids:
        if not _alive(pid):
            with suppress(FileNotFoundError):  # another process answers a scrape at the same time
                mark_process_dead(pid, path=str(directory))  # type: ignore[no-untyped-call]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_backlog = _BacklogCollector()
_lanes = _LanesCollector()
_replica = _ReplicaCollector()
_memory = CollectorRegistry()
_memory.register(_MemoryCollector())
_database = CollectorRegistry()
_database.register(_backlog)
_database.register(_lanes)
_database.register(_replica)
