"""Handlers of the operators context."""

from __future__ import annotations

from backend.contexts.operators.application.commands import (
    MOST_AT_ONCE,
    DiscardDeadLetter,
    DiscardGroup,
    PauseCommand,
    PauseLane,
    ReplayDeadLetter,
    Replayed,
    ReplayGroup,
    ResumeCommand,
    ResumeLane,
)
from backend.contexts.operators.application.ports import OperatorsPorts
from backend.kernel.messages.registry import Handlers

handlers = Handlers[OperatorsPorts]("operators", audited=True)


@handlers.on(ReplayDeadLetter, name="dead_letters.replay")
def replay(command: ReplayDeadLetter, ports: OperatorsPorts) -> None:
    """However often it is replayed, it takes effect once: the inbox knows the message."""
    ports.dead_letters.replay(command.dead_letter_id)


@handlers.on(ReplayGroup, name="dead_letters.replay_group")
def replay_group(command: ReplayGroup, ports: OperatorsPorts) -> Replayed:
    """Replay as many of the group as one command may."""
    return ports.dead_letters.replay_group(command.group, MOST_AT_ONCE)


@handlers.on(DiscardDeadLetter, name="dead_letters.discard")
def discard(command: DiscardDeadLetter, ports: OperatorsPorts) -> None:
    """The operation stays failed."""
    ports.dead_letters.discard(command.dead_letter_id, command.reason)


@handlers.on(DiscardGroup, name="dead_letters.discard_group")
def discard_group(command: DiscardGroup, ports: OperatorsPorts) -> int:
    """Their operations stay failed."""
    return ports.dead_letters.discard_group(command.group, command.reason)


@handlers.on(PauseLane, name="lanes.pause")
def pause(command: PauseLane, ports: OperatorsPorts) -> None:
    """The workers notice it within seconds."""
    ports.lanes.pause(command.lane, command.reason)


@handlers.on(ResumeLane, name="lanes.resume")
def resume(command: ResumeLane, ports: OperatorsPorts) -> None:
    """The workers notice it within seconds."""
    ports.lanes.resume(command.lane)


@handlers.on(PauseCommand, name="commands.pause")
def pause_command(command: PauseCommand, ports: OperatorsPorts) -> None:
    """The workers notice it within seconds."""
    ports.lanes.pause_command(command.name, command.reason)


@handlers.on(ResumeCommand, name="commands.resume")
def resume_command(command: ResumeCommand, ports: OperatorsPorts) -> None:
    """The next sweep sends the waiting messages."""
    ports.lanes.resume_command(command.name)
