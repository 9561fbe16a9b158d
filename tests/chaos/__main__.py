"""`make chaos`, or `python -m tests.chaos --commands 2000 --seed 1 --subject users --fault "stop broker"`."""

from __future__ import annotations

import argparse
import sys

from tests.chaos.faults import ALL
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
    parser.add_argument("--fault", choices=ALL, action="append", help="only this one; repeatable")
    chosen = parser.parse_args()
    kept = True
    print(f"{chosen.commands} commands per fault, subject {chosen.subject}, seed {chosen.seed}\n{HEADER}", flush=True)
    for fault in chosen.fault or ALL:
        with World() as world:
            result = run(world, fault, known[chosen.subject](), chosen.commands, chosen.seed)
        print(result, flush=True)
        kept = kept and result.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
