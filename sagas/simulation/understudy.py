"""The saga that is rehearsed: the steps of a real one, carried out by stand-ins.

Kinds, order, contexts, groups and conditions are the original's; commands, state and replies are
replaced, since the engine does not look into them.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from sagas.core.commands import Command
from sagas.core.definition import Kind, Saga, Step, command_type, parallel
from sagas.core.keys import Direction, effect_key
from sagas.core.waits import ChildAwaited, SignalAwaited, TimeAwaited
from sagas.orchestration import handlers, registry
from sagas.orchestration.handlers import Handler, handler_of
from sagas.orchestration.run import current_run
from sagas.simulation.participants import Participants

DEADLINE = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsedState:
    """Nothing has to be remembered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """The payload of every signal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Understudy:
    """A registered stand-in of a saga and its participants."""

    saga: Saga[RehearsedState]
    participants: Participants
    remote: frozenset[str]
    """Steps that call the other side."""
    remote_undo: frozenset[str]


def understudy(original: Saga[Any]) -> Understudy:
    """Make and register the stand-in of a registered saga; a second call replaces the first."""
    participants = Participants()
    steps = tuple(
        _stand_in(original, number, step, participants)
        for number, step in enumerate(original.steps)
    )
    context, _, what = original.name.partition(".")
    saga = Saga(
        name=f"{context}.rehearsed_{what}",
        version=original.version,
        state=RehearsedState,
        deadline=DEADLINE,
        steps=_regrouped(steps),
    )
    registry.SAGAS.pop((saga.name, saga.version), None)
    registry.add(saga)
    return Understudy(
        saga=saga,
        participants=participants,
        remote=frozenset(step.name for step in original.steps if _calls_out(step.do)),
        remote_undo=frozenset(step.name for step in original.steps if _calls_out(step.undo)),
    )


def _regrouped(steps: tuple[Step[RehearsedState], ...]) -> tuple[Step[RehearsedState], ...]:
    """Write flat steps as an author does: branches inside their group."""
    written: list[Step[RehearsedState]] = []
    for group, members in groupby(steps, key=lambda step: step.group):
        branches = [replace(step, group=None) for step in members]
        written += branches if group is None else [parallel(*branches)]
    return tuple(written)


def _calls_out(builder: Callable[..., Any] | None) -> bool:
    return builder is not None and handler_of(command_type(builder)).is_remote


def _stand_in(
    saga: Saga[Any], number: int, step: Step[Any], participants: Participants
) -> Step[RehearsedState]:
    context = saga.contexts[number]
    name = f"{context}.Rehearsed{saga.name.partition('.')[2]}{number}"
    awaits = step.awaits
    if isinstance(awaits, SignalAwaited):
        awaits = replace(awaits, payload=Said, within=timedelta(hours=1))
    elif isinstance(awaits, TimeAwaited):
        awaits = replace(awaits, lasts=timedelta(hours=1))
    plain: dict[str, Any] = {"keep": None, "awaits": awaits}
    if isinstance(awaits, ChildAwaited):
        # One step, done here and undone here: what happens inside is rehearsed by the child's name.
        past = number >= saga.first_retriable
        plain |= {"awaits": None, "kind": Kind.RETRIABLE if past else Kind.COMPENSATABLE}
    if step.within is not None:
        plain["within"] = timedelta(hours=1)
    if step.when is not None:
        plain["when"] = _condition(participants, step.name)
    if step.do is not None or isinstance(awaits, ChildAwaited):
        plain["do"] = _builder(f"{name}Do", participants, remote=_calls_out(step.do), step=step)
    if step.undo is not None:
        plain["undo"] = _builder(
            f"{name}Undo", participants, remote=_calls_out(step.undo), step=step
        )
    return replace(step, **plain)


def _condition(participants: Participants, step: str) -> Callable[[RehearsedState], bool]:
    def when(state: RehearsedState) -> bool:
        return step not in participants.unwanted

    when.__annotations__ = {"state": RehearsedState, "return": bool}
    return when


def _builder(
    name: str, participants: Participants, *, remote: bool, step: Step[Any]
) -> Callable[[RehearsedState], Command[Any]]:
    command: type[Command[None]] = dataclass(frozen=True, kw_only=True, slots=True)(
        types.new_class(
            name.partition(".")[2], (Command[None],), exec_body=lambda body: body.update(name=name)
        )
    )
    handlers.HANDLERS[name] = (
        _remote(command, participants, step) if remote else _local(command, participants)
    )

    def build(state: RehearsedState) -> Command[None]:
        return command()

    # The definition reads the command's class from the annotation.
    build.__annotations__ = {"state": RehearsedState, "return": command}
    return build


def _local(command: type[Command[Any]], participants: Participants) -> Handler:
    def carry_out(_: Any) -> None:
        participants.act()

    return Handler(command=command, carry_out=carry_out)


def _remote(command: type[Command[Any]], participants: Participants, step: Step[Any]) -> Handler:
    def intent(_: Any) -> str:
        # Both directions speak of the same thing at the other side.
        return effect_key(current_run().saga_id, step.name, Direction.DO)

    def record(_: Any, key: str, outcome: str) -> None:
        participants.write()

    return Handler(
        command=command,
        carry_out=record,
        intent=intent,
        call=lambda _, key: participants.call(key),
        close=(lambda _, key: participants.make_final(key)) if step.kind is Kind.PIVOT else None,
    )
