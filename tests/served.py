"""The whole program on ports of its own, for tests in another language: `python -m tests.served NAME=value …`.

Settings are the arguments. The first line of output says, as JSON, where it is and who administers it. Then each line
of input is an order, answered with a line once it is done. The end of the input ends everything.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.broker import any_rabbitmq
from tests.flow.programs import ApiProcess, beat
from tests.postgres import Postgres, migrate
from tests.proxy import Proxy
from tests.worker import Program, WorkerProcess, environment

_EMAIL, _PASSWORD = "admin@example.com", "correct horse battery"


def main() -> None:
    """Start it, and do what the input says."""
    with served(**dict(setting.split("=", 1) for setting in sys.argv[1:])) as (place, orders):
        print(json.dumps(place), flush=True)
        for line in sys.stdin:
            orders[line.strip()]()
            print("done", flush=True)


@contextmanager
def served(**settings: str) -> Iterator[tuple[dict[str, str], dict[str, Callable[[], object]]]]:
    """Where the program is, and the orders that it takes."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="served-"))
        directory.chmod(0o755)  # the embedded PostgreSQL runs as another user
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        postgres = Postgres(directory / "postgres")
        stack.callback(postgres.stop)
        migrate(postgres.url)
        broker = urlsplit(stack.enter_context(any_rabbitmq()))
        network = stack.enter_context(Proxy(str(broker.hostname), broker.port or 5672))
        behind = broker._replace(netloc=f"{broker.username}:{broker.password}@127.0.0.1:{network.port}")
        mail = directory / "mail"
        program = environment(
            BROKER_URL=behind.geturl(), DATABASE_URL=postgres.url, MAIL_URL=f"file:{mail}", **settings
        )
        worker = WorkerProcess(program, "--pool", "prefork", "--concurrency", "2")
        stack.callback(worker.teardown)
        worker.start()  # the others start meanwhile
        command = stack.enter_context(_creation_of_administrator(program))
        stack.enter_context(beat(program))
        api = stack.enter_context(ApiProcess(program))
        assert command.ended() == 0, command.logs()
        worker.ready()
        place = {"url": api.url, "mail": str(mail), "email": _EMAIL, "password": _PASSWORD}
        yield (
            place,
            {
                "stop api": api.terminate,
                "start api": api.__enter__,
                "stop worker": worker.terminate,
                "start worker": worker.__enter__,
                "broker away": network.refuse,
                "broker back": network.accept,
                "stop database": postgres.stop,
                "start database": postgres.start,
            },
        )


def _creation_of_administrator(program: dict[str, str]) -> Program:
    arguments = ("--app", "wsgi", "users", "create-admin", "--email", _EMAIL, "--name", "Admin")
    return Program("flask", "flask", *arguments, environment={**program, "ADMIN_PASSWORD": _PASSWORD})


if __name__ == "__main__":
    main()
