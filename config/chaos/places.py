"""The places of the checkout at which a worker is killed or frozen, by fault."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sagas.core.definition import Step, command_type
from sagas.orchestration import registry
from sagas.orchestration.handlers import handler_of

SAGA = "orders.checkout"


def ways_by_fault(contexts: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Name the places of each fault that strikes at one."""
    forward = tuple(_forward())
    backward = tuple(_backward())
    before = tuple(p for p in forward if p.startswith("intent.committed"))
    returned = tuple(p for p in forward if p.startswith("call.returned"))
    inside = tuple(p for p in forward if ".before_commit" in p)
    committed = tuple(p for p in forward if p.startswith("step.committed"))
    return {
        "F1": ("claim.before",),
        "F2": ("claim.committed", *before),
        "F3": returned,
        "F4": inside,
        "F5": committed,
        "F6": ("chain.published", "sweep.published"),
        "F7": ("link.ended", "donekeys.before"),
        "F8": backward,
        "F9": ("reject.before_commit", "reject.committed", "continue.before"),
        "F10": _of_contexts(("relay.selected", "relay.published", "relay.committed"), contexts),
        "F11": ("deliver.before_commit", "deliver.committed"),
        "F16": (*before, *returned, *inside),
        "F18": ("sweep.claimed",),
        "F50": ("claim.committed", *forward),
    }


def _of_contexts(places: tuple[str, ...], contexts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{place}/{context}" for context in contexts for place in places)


def _forward() -> Iterator[str]:
    for step in _checkout():
        if step.do is not None:
            yield from _around(step.name, remote=_is_remote(step.do))


def _backward() -> Iterator[str]:
    yield "close.before"
    yield "close.returned"
    for step in _checkout():
        if step.undo is not None:
            yield from _around(f"undo.{step.name}", remote=_is_remote(step.undo))


def _around(name: str, *, remote: bool) -> Iterator[str]:
    if remote:
        for place in ("intent.before_commit", "intent.committed", "call.returned"):
            yield f"{place}/{name}"
    yield f"step.before_commit/{name}"
    yield f"step.committed/{name}"


def _checkout() -> tuple[Step[Any], ...]:
    return registry.get(SAGA, 1).steps


def _is_remote(build: Callable[[Any], Any]) -> bool:
    return handler_of(command_type(build)).is_remote
