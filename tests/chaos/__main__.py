"""`make chaos`, or `python -m tests.chaos --commands 2000 --seed 1 --subject users --fault "stop broker"`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Collection
from statistics import median

from tests.chaos.faults import ALL, BEHIND_A_POOLER, FAULTS, OF_A_CLUSTER, OF_A_STANDBY, OF_HOSTS
from tests.chaos.hosts import Hosts, hashing_rates
from tests.chaos.run import HEADER, run
from tests.chaos.subjects import Subject, subjects
from tests.chaos.world import World


def main() -> int:
    """Print a line per fault; 1 if a promise was broken."""
    known = subjects()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--commands", type=int, default=2000, help="per fault")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which the fault strikes")
    parser.add_argument("--subject", choices=known, default=next(iter(known)), help="the command under fire")
    parser.add_argument("--fault", choices=(*ALL, *FAULTS), action="append", help="only this one; repeatable")
    surroundings = parser.add_mutually_exclusive_group()
    surroundings.add_argument("--nodes", type=int, default=1, help="of RabbitMQ, each on a host of its own; needs root")
    surroundings.add_argument("--standby", action="store_true", help="PostgreSQL has one, which may take over")
    surroundings.add_argument("--pooler", choices=("session", "transaction"), help="PgBouncer, in that pool mode")
    surroundings.add_argument("--hosts", action="store_true", help="each part on a host of its own; needs root")
    parser.add_argument("--costs", action="store_true", help="break nothing: processor time per command of each part")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and hosts are removed on the way out
    faults = chosen.fault or _faults_of(chosen)
    kept = True
    if chosen.costs:
        _print_costs(known[chosen.subject](), chosen.commands)
        return 0
    print(f"{chosen.commands} commands per fault, subject {chosen.subject}, seed {chosen.seed}\n{HEADER}", flush=True)
    for fault in faults:
        with _world(chosen) as world:
            result = run(world, fault, known[chosen.subject](), chosen.commands, chosen.seed)
            print(result, flush=True)
        kept = kept and result.kept
    if chosen.hosts and not chosen.fault:
        _print_hashing()
    return 0 if kept else 1


def _print_costs(subject: Subject, commands: int) -> None:
    with World() as world:
        run(world, "nothing", subject, commands // 10, seed=1)  # what runs once, such as imports, costs nothing later
        before = world.core_seconds()
        result = run(world, "nothing", subject, commands, seed=1)
        spent = {part: after - before[part] for part, after in world.core_seconds().items()}
    for part, seconds in spent.items():
        print(f"{part}: {seconds / result.accepted * 1000:.2f} ms of a core per command")


def _world(chosen: argparse.Namespace) -> World:
    return Hosts() if chosen.hosts else World(nodes=chosen.nodes, standby=chosen.standby, pooler=chosen.pooler)


def _print_hashing() -> None:
    one, two = (median(rates) for rates in hashing_rates().values())
    print(
        f"registrations hashed per second: {one:.1f} by one worker host with one process, {two:.1f} by two, "
        f"{two / one:.2f} times as many; {os.cpu_count()} cores in all"
    )


def _faults_of(chosen: argparse.Namespace) -> Collection[str]:
    if chosen.nodes > 1:
        return OF_A_CLUSTER
    if chosen.standby:
        return OF_A_STANDBY
    if chosen.hosts:
        return OF_HOSTS
    return BEHIND_A_POOLER if chosen.pooler else ALL


if __name__ == "__main__":
    sys.exit(main())
