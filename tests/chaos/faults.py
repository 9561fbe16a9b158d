"""What is broken, and for how long. Each fault is over when its function returns."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from typing import Any

import psutil
import psycopg
from kombu import Connection, Consumer, Exchange, Producer, Queue

from tasks.lanes import COMMANDS
from tests.broker import lanes
from tests.chaos.world import World, is_ready
from tests.worker import eventually

Fault = Callable[[World, random.Random], None]


def _for_a_while(chance: random.Random, longest: float = 4.0) -> None:
    """An outage lasts; this is the outage, not a wait for something."""
    threading.Event().wait(chance.uniform(0.5, longest))


def _signal(process: Any, number: int) -> None:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        os.kill(process.pid, number)


def kill_worker_child(world: World, chance: random.Random) -> None:
    """SIGKILL to a child of a worker's pool, as the out-of-memory killer would."""
    worker = chance.choice(world.workers)
    with suppress(psutil.NoSuchProcess):
        children = worker.children()
        if children:
            _signal(chance.choice(children), signal.SIGKILL)


def kill_worker(world: World, chance: random.Random) -> None:
    """SIGKILL to a worker, which also relays the outbox."""
    _signal(chance.choice(world.workers).process, signal.SIGKILL)


def stop_worker(world: World, chance: random.Random) -> None:
    """SIGTERM to a worker: it finishes its task or hands it back."""
    _signal(chance.choice(world.workers).process, signal.SIGTERM)


def kill_api(world: World, chance: random.Random) -> None:
    """SIGKILL to an API process, server and its child."""
    api = chance.choice(world.apis)
    with suppress(psutil.NoSuchProcess):
        for child in api.children():
            _signal(child, signal.SIGKILL)
    _signal(api.process, signal.SIGKILL)


def restart_broker(world: World, chance: random.Random) -> None:
    """RabbitMQ stops and starts."""
    with world.rabbitmq.stopped():
        pass


def stop_broker(world: World, chance: random.Random) -> None:
    """RabbitMQ is away for some seconds."""
    with world.rabbitmq.stopped():
        _for_a_while(chance)


def restart_database(world: World, chance: random.Random) -> None:
    """PostgreSQL stops and starts."""
    world.postgres.stop()
    world.postgres.start()


def stop_database(world: World, chance: random.Random) -> None:
    """PostgreSQL is away for some seconds."""
    world.postgres.stop()
    _for_a_while(chance)
    world.postgres.start()


def stop_both(world: World, chance: random.Random) -> None:
    """Neither RabbitMQ nor PostgreSQL is there: nothing can be accepted."""
    with world.rabbitmq.stopped():
        stop_database(world, chance)


def memory_alarm(world: World, chance: random.Random) -> None:
    """RabbitMQ has no memory left: it blocks publishers without a word."""
    with world.rabbitmq.alarmed():
        _for_a_while(chance)


def cut_network(world: World, chance: random.Random) -> None:
    """Every connection to RabbitMQ ends, and none is let in for a moment."""
    world.network.refuse()
    _for_a_while(chance, 2)
    world.network.accept()


def stall_network(world: World, chance: random.Random) -> None:
    """Nothing gets through to RabbitMQ or back, and nobody is told; then the connections are cut."""
    world.network.stall()
    _for_a_while(chance)
    world.network.cut()
    world.network.flow()


def poison(world: World, chance: random.Random) -> None:
    """Messages that no worker can carry out, in every lane."""
    bodies = [
        (b"{", "application/json"),
        (b"\xff", "application/json"),
        (b"5", "application/json"),
        (b"x", "text/plain"),
    ]
    with Connection(world.broker_url) as connection, connection.channel() as channel:
        for lane in lanes():
            for body, content_type in bodies:
                headers = {"task": chance.choice(["users.create_user", "no.such_task", 7]), "id": "not-an-id"}
                Producer(channel).publish(
                    body,
                    exchange=COMMANDS,
                    routing_key=lane,
                    content_type=content_type,
                    content_encoding="utf-8",
                    headers=headers,
                )


def roll_everything(world: World, chance: random.Random) -> None:
    """A new version: every process is ended by SIGTERM and started again, one after the other."""
    for _ in _rolled(world):
        pass


def _rolled(world: World) -> Iterator[None]:
    """The same, with a pause after each API process and each worker."""
    for api in world.apis:
        with world.out_of_rotation(api):
            world.restart(api)
            eventually(partial(is_ready, api.client))
        yield
    for worker in world.workers:
        since = worker.mark()
        world.restart(worker)
        eventually(partial(worker.has_said, f"{worker.node} ready.", since))
        yield
    world.restart(world.beat)


def rotate_keys(world: World, chance: random.Random) -> None:
    """The keys are rotated: `flask keys rotate` and a restart of every process in turn, twice. All sessions stay."""
    sessions = [world.sign_in()]
    for _ in range(2):
        world.rotate_keys()
        for _ in _rolled(world):
            sessions.append(world.sign_in())
            asked = product(world.apis, sessions)
            assert {api.client.get("/api/v1/auth/sessions", **session).status for api, session in asked} == {200}
    with psycopg.connect(world.database_url) as database:
        assert database.execute("select from dead_letters").rowcount == 0


def clock_jumps(world: World, chance: random.Random) -> None:
    """An API process's clock is an hour ahead, then an hour behind, then right again, while somebody is signed in."""
    token, (*_, api) = world.sign_in(), world.apis
    for hours, status in ((1, 401), (-1, 200), (0, 200)):  # ahead, the token has expired
        world.clock.set(hours * 3600)
        assert api.client.get("/api/v1/auth/sessions", **token).status == status, f"{hours} h ahead"
        _for_a_while(chance, 1.5)


def kill_node(world: World, chance: random.Random) -> None:
    """SIGKILL to the node that holds the connections; it starts again some seconds later."""
    node = world.cluster.busiest()
    node.kill()
    _for_a_while(chance)
    node.start()
    world.cluster.await_whole()


def cut_node_off(world: World, chance: random.Random) -> None:
    """The node that holds the connections reaches no other node, for longer than RabbitMQ needs to notice."""
    with world.cluster.busiest().cut_off():
        threading.Event().wait(20 + chance.uniform(0, 5))
    world.cluster.await_whole()


def roll_nodes(world: World, chance: random.Random) -> None:
    """An update of RabbitMQ: one node after the other stops and starts."""
    for node in world.cluster.nodes:
        node.stop()
        node.start()
        world.cluster.await_whole()


def kill_primary(world: World, chance: random.Random) -> None:
    """SIGKILL to PostgreSQL; its standby takes its place."""
    world.pair.kill_primary()


def standby_lags(world: World, chance: random.Random) -> None:
    """The standby follows no more for a while. With one standby in step, commits would wait for it."""
    world.pair.let_it_lag()
    world.pair.pause()
    _for_a_while(chance)
    assert world.client(0).get("/health/ready").status == 200
    world.pair.go_on()


def stop_standby(world: World, chance: random.Random) -> None:
    """The standby is away for a while."""
    world.pair.let_it_lag()
    world.pair.standby.stop()
    _for_a_while(chance)
    assert world.client(0).get("/health/ready").status == 200
    world.pair.standby.start()


def cut_worker_host_off(world: World, chance: random.Random) -> None:
    """A host with a worker reaches nobody; nobody is told."""
    _cut_off(world, chance, chance.choice(["worker1", "worker2"]))


def cut_api_host_off(world: World, chance: random.Random) -> None:
    """A host with an API process reaches nobody, not even the gateway."""
    _cut_off(world, chance, chance.choice(["api1", "api2"]))


def cut_broker_host_off(world: World, chance: random.Random) -> None:
    """RabbitMQ's host is reached by nobody."""
    _cut_off(world, chance, "broker")


def cut_database_host_off(world: World, chance: random.Random) -> None:
    """PostgreSQL's host is reached by nobody."""
    _cut_off(world, chance, "database")


def _cut_off(world: World, chance: random.Random, name: str) -> None:
    """For a moment, or for longer than RabbitMQ takes to give its connections up."""
    with world.hosts[name].cut_off("net"):
        _for_a_while(chance, 30)


def nothing(world: World, chance: random.Random) -> None:
    """Nothing is broken: what the figures of the others are compared with."""


@contextmanager
def duplicating(world: World) -> Iterator[None]:
    """While inside, every message in every lane is delivered a second time."""
    ending = threading.Event()

    def copy() -> None:
        with Connection(world.broker_url) as connection, connection.channel() as channel:
            commands = Exchange(COMMANDS, type="topic")
            shadow = Queue("chaos-shadow", commands, routing_key="#", auto_delete=True)
            shadow(channel).declare()

            def again(message: Any) -> None:
                if not message.headers.get("chaos-copy"):
                    Producer(channel).publish(
                        message.body,
                        exchange=COMMANDS,
                        routing_key=message.delivery_info["routing_key"],
                        content_type=message.content_type,
                        content_encoding=message.content_encoding,
                        headers={**message.headers, "chaos-copy": True},
                        correlation_id=message.properties.get("correlation_id"),
                        delivery_mode=2,
                    )
                message.ack()

            with Consumer(channel, [shadow], on_message=again):
                while not ending.is_set():
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=0.2)

    copier = threading.Thread(target=copy, daemon=True)
    copier.start()
    try:
        yield
    finally:
        ending.set()
        copier.join()


def _named(*faults: Fault) -> dict[str, Fault]:
    return {fault.__name__.replace("_", " "): fault for fault in faults}


_ORDINARY = _named(
    nothing,
    kill_worker_child,
    kill_worker,
    stop_worker,
    kill_api,
    restart_broker,
    stop_broker,
    restart_database,
    stop_database,
    stop_both,
    memory_alarm,
    cut_network,
    stall_network,
    poison,
    roll_everything,
    rotate_keys,
    clock_jumps,
)
OF_A_CLUSTER = _named(nothing, kill_node, cut_node_off, roll_nodes)
OF_A_STANDBY = _named(nothing, kill_primary, standby_lags, stop_standby)
BEHIND_A_POOLER = _named(nothing, kill_worker, restart_database, stop_database)
OF_HOSTS = _named(nothing, cut_worker_host_off, cut_api_host_off, cut_broker_host_off, cut_database_host_off)
FAULTS = _ORDINARY | OF_A_CLUSTER | OF_A_STANDBY | OF_HOSTS
ONCE = (roll_everything, rotate_keys, roll_nodes, kill_primary)
"""They strike once: they take their time, or cannot happen twice."""
SUSTAINED = (roll_everything, rotate_keys, roll_nodes, kill_node, cut_node_off, *list(OF_HOSTS.values())[1:])
"""Commands are sent, more slowly, until the fault is over."""
DUPLICATES = "every message twice"
OVERLOAD = "twice the capacity"
ALL = (*_ORDINARY, DUPLICATES, OVERLOAD)
