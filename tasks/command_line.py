"""Celery's command line: what would lose messages, or have no effect, is refused with a sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from backend.kernel.messages.registry import Kind
from tasks.health import health_address
from tasks.lanes import lanes_of

_COMMANDS = {
    "amqp": "celery amqp can delete accepted commands: see `flask topology show` and `flask dead-letters`",
    "migrate": "celery migrate can lose accepted commands: it waits for no confirm; use RabbitMQ's plugin shovel",
    "purge": "celery purge would delete accepted commands: cancel them, or pause their lane",
}
_OWN_LIMITS = "has no effect: each handler has a limit of its own, @handlers.on(…, limit=…)"
_OPTIONS = {
    "autoscale": "--autoscale has no effect on quorum queues: set --concurrency, or start more workers",
    "purge": "--purge would delete accepted commands: cancel them, or pause their lane",
    "soft_time_limit": f"--soft-time-limit {_OWN_LIMITS}",
    "time_limit": f"--time-limit {_OWN_LIMITS}",
}
_POOLS = {f"celery.concurrency.{name}" for name in ("prefork", "solo", "thread")}
"""Those that the tests run: others replace what our threads and PostgreSQL's driver wait with."""


def check_command() -> None:
    """Refuse the command that Celery's program was called with, if it can remove messages."""
    context = click.get_current_context(silent=True)
    if context is not None and context.invoked_subcommand in _COMMANDS:
        raise SystemExit(_COMMANDS[context.invoked_subcommand])


def check_options(app: Any, options: Mapping[str, Any]) -> None:
    """Refuse options of `celery worker`, and what it could not listen on later."""
    health_address()
    for name, reason in _OPTIONS.items():
        if options.get(name):
            raise SystemExit(reason)
    if options.get("pool_start_method") == "spawn":
        raise SystemExit("--pool-start-method spawn does not work with this program: use fork")
    if (pool := options.get("pool")) and pool.__module__ not in _POOLS:
        raise SystemExit("the program runs on the pools prefork, threads and solo: set --pool prefork")
    chosen = set(options.get("queues") or ())
    if unknown := (chosen | set(options.get("exclude_queues") or ())) - set(app.amqp.queues):
        known = ", ".join(sorted(app.amqp.queues))
        raise SystemExit(f"-Q and -X name queues among {known}, which {', '.join(sorted(unknown))} is not")
    if not_served := chosen - {lane for lane in app.amqp.queues if _serves(app, lane)}:
        raise SystemExit(f"-Q and CONTEXTS contradict each other: CONTEXTS leaves out {', '.join(sorted(not_served))}")


def select_lanes(app: Any) -> None:
    """Consume the lanes of the kinds in LANES (`LANES=hashing,mail`), or those of the worker's own `-Q` and `-X`, by
    default all; of them, those of the contexts in CONTEXTS.
    """
    queues = app.amqp.queues
    kinds = {kind.strip() for kind in os.environ.get("LANES", "").split(",")} - {""}
    chosen = set(queues.consume_from)
    if kinds and chosen != set(queues):
        raise SystemExit("LANES and the options -Q and -X select queues in two ways: use one of them")
    if not chosen:
        raise SystemExit("-X leaves no queue to this worker")
    known = lanes_of(app.program.registry)
    lanes = [lane for lane, kind in known.items() if lane in chosen and kind in (kinds or set(Kind))]
    if not lanes or not kinds <= set(Kind):
        raise SystemExit(f"LANES must name kinds of work among {', '.join(Kind)}, one of them in use")
    ours = [lane for lane in lanes if _serves(app, lane)]
    queues.select(ours or [Kind.MAINTENANCE])  # Celery takes an empty selection for all


def _serves(app: Any, lane: str) -> bool:
    """Whether this process consumes the lane: its context is served, or it is nobody's."""
    context = lane.partition(".")[0]
    others = {one.name for one in app.program.contexts if not app.program.settings.serves(one.name)}
    return context not in others
