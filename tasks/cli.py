"""`flask topology …`: the queues as they exist in RabbitMQ. It needs an account that may declare queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click
from amqp.exceptions import AccessRefused
from flask.cli import AppGroup
from kombu import Connection, Queue
from kombu.exceptions import OperationalError

from backend.kernel.http.api import bus
from backend.kernel.http.cli import reports_refusals
from backend.kernel.observe import audit, workers
from tasks import moving
from tasks.app import ProgramApp
from tasks.broker import connect
from tasks.topology import dead_letters


def topology_of(app: ProgramApp) -> AppGroup:
    """The commands for the broker of this application."""
    group = AppGroup("topology", help="The queues as they exist in RabbitMQ: show, move.")

    @group.command("show")
    @_reports_troubles
    def show() -> None:
        """Show which queues exist as this program declares them, and which with other arguments."""
        with _broker(app) as broker:
            for queue in _queues(app):
                _print(moving.look_at(broker, queue))

    @group.command("move")
    @click.argument("lane")
    @_reports_troubles
    def move(*, lane: str) -> None:
        """Give the queue of LANE the arguments that this program declares, and keep its messages.

        Stop the workers of the lane first. Commands are accepted meanwhile. Repeat it if it is interrupted.
        """
        queue = next((queue for queue in _queues(app) if queue.name == lane), None)
        if queue is None:
            raise click.ClickException(f"{lane} is none of {', '.join(queue.name for queue in _queues(app))}.")
        _check_workers(lane)
        with _broker(app) as broker:
            moved = moving.move(broker, queue)
        with bus().database.transaction() as connection:
            audit.write(connection, "topology.move", None, "succeeded", lane)
        click.echo(f"{lane}  moved, {moved} messages are in it again")

    return group


def _check_workers(lane: str) -> None:
    """A worker holds messages of a paused lane without consuming it: RabbitMQ does not show them."""
    alive = bus().database.read(workers.alive, fresh=True)
    busy = [worker.name for worker in alive if lane in worker.lanes]
    if busy:
        raise moving.CannotMove(f"stop the workers of {lane} first: {', '.join(busy)}")


def _queues(app: ProgramApp) -> list[Queue]:
    return [*app.conf.task_queues, dead_letters()]


@contextmanager
def _broker(app: ProgramApp) -> Iterator[Connection]:
    if not app.program.settings.on_rabbitmq:
        raise click.ClickException("There is no RabbitMQ: BROKER_URL is not set.")
    with app.connection_for_write() as connection:
        connect(connection)
        yield connection


def _print(found: moving.Found) -> None:
    notes = [found.difference] if found.difference else []
    if found.aside is not None:
        notes.append(f"a move was interrupted with {found.aside} messages aside: `flask topology move {found.name}`")
    click.echo(f"{found.name:<32}  {found.form:<16}  {found.ready:>7}  {'; '.join(notes)}".rstrip())


def _reports_troubles(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def reporting(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except moving.CannotMove as reason:
            raise click.ClickException(f"{reason}.") from None
        except OperationalError:
            raise click.ClickException("RabbitMQ cannot be reached; see BROKER_URL.") from None
        except AccessRefused:
            raise click.ClickException("The account of BROKER_URL may not declare or delete queues.") from None

    return reports_refusals(reporting)
