"""`make attacks`: what hostile neighbours try, on the whole program, and what they get.

A line for each attack: how much was sent, how much got through (it must be 0), and the slowest answer that somebody
signed in waited for meanwhile. Everything goes to this machine, in bounded numbers.
"""

from __future__ import annotations

import logging
import sys

import structlog

from backend.program import Program
from tasks.app import make_app
from tests.attacks import around, by_broker, by_http
from tests.attacks.field import Battlefield, Neighbour
from tests.chaos.world import World
from tests.flow.programs import administrator
from tests.settings import settings_with
from tests.worker import SECRET_KEY


def main() -> int:
    """Print the table; 1 if something got through."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"{'attack':<34} {'sent':>5} {'got through':>12} {'slowest answer of others':>26}", flush=True)
    through = 0
    with World(REGISTRATIONS_PER_ADDRESS=str(by_http.PER_ADDRESS), TRUSTED_PROXIES="1") as world:
        settings = settings_with(
            broker_url=world.broker_url, database_url=world.postgres.url, secret_keys=(SECRET_KEY,)
        )
        client = world.apis[0].client
        field = Battlefield(world, client, administrator(client, world.environment), make_app(Program(settings)))
        for attack in (*by_broker.ATTACKS, *by_http.ATTACKS, *around.ATTACKS):
            neighbour = Neighbour(field.client, field.admin)
            with neighbour.busy():
                sent, got = attack(field)
            through += got + len(neighbour.refused)
            refused = f", {len(neighbour.refused)} refused" if neighbour.refused else ""
            slowest = f"{neighbour.slowest:.2f} s{refused}"
            print(f"{attack.__name__.replace('_', ' '):<34} {sent:>5} {got:>12} {slowest:>26}", flush=True)
        field.ours.close_process()
    return 1 if through else 0


if __name__ == "__main__":
    sys.exit(main())
