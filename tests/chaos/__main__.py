"""`make chaos`, or `python -m tests.chaos --commands 2000 --seed 1 --subject users --fault "stop broker"`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection

from tests.chaos.faults import ALL, BEHIND_A_POOLER, FAULTS, OF_A_CLUSTER, OF_A_STANDBY
from tests.chaos.run import HEADER, run
from tests.chaos.subjects import subjects
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
    chosen = parser.parse_args()
    faults = chosen.fault or _faults_of(chosen)
    kept = True
    print(f"{chosen.commands} commands per fault, subject {chosen.subject}, seed {chosen.seed}\n{HEADER}", flush=True)
    for fault in faults:
        with World(nodes=chosen.nodes, standby=chosen.standby, pooler=chosen.pooler) as world:
            result = run(world, fault, known[chosen.subject](), chosen.commands, chosen.seed)
            print(result, flush=True)
        kept = kept and result.kept
    return 0 if kept else 1


def _faults_of(chosen: argparse.Namespace) -> Collection[str]:
    if chosen.nodes > 1:
        return OF_A_CLUSTER
    if chosen.standby:
        return OF_A_STANDBY
    return BEHIND_A_POOLER if chosen.pooler else ALL


if __name__ == "__main__":
    sys.exit(main())
