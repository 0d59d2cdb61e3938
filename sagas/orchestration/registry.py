"""Every saga definition of the project, found and checked when Django is ready."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps

from sagas.choreography import flows, opening
from sagas.contexts import with_tables
from sagas.core.choreography import Choreography
from sagas.core.commands import reply_type
from sagas.core.definition import InvalidDefinition, Kind, Saga, Step, command_type
from sagas.core.errors import SagasError
from sagas.core.waits import ChildAwaited
from sagas.orchestration import requests
from sagas.orchestration.handlers import handler_of

SAGAS: dict[tuple[str, int], Saga[Any]] = {}


class UnknownSaga(SagasError):
    """No such saga definition, or not this version of it, is part of the code that runs here."""


def add(saga: Saga[Any]) -> Saga[Any]:
    """Register a definition.

    :raises InvalidDefinition: if a context is unknown, a command has no handler, a remote pivot
        cannot be closed, or another definition has this name and version
    """
    known = SAGAS.get((saga.name, saga.version))
    if known is not None and known is not saga:
        raise InvalidDefinition(f"{saga.name} version {saga.version} is defined twice")
    _check_contexts(saga)
    for step in saga.steps:
        if isinstance(step.awaits, ChildAwaited):
            add(step.awaits.of)
        _check_step(saga, step)
    SAGAS[(saga.name, saga.version)] = saga
    return saga


def _check_contexts(saga: Saga[Any]) -> None:
    known = with_tables()
    for named in dict.fromkeys((saga.context, *saga.contexts)):
        if named not in known:
            raise InvalidDefinition(
                f"{saga.name}: {named} is no context; a name begins with the label of an app that"
                f" has an outbox, here {', '.join(known)}"
            )


def _check_step(saga: Saga[Any], step: Step[Any]) -> None:
    if step.undo is not None:
        undo = command_type(step.undo)
        handler_of(undo)
        if reply_type(undo) is not type(None):
            raise InvalidDefinition(f"{saga.name}, step {step.name}: an undo has no reply")
    if step.do is None:
        return
    handler = handler_of(command_type(step.do))
    if step.kind is Kind.PIVOT and handler.is_remote and handler.close is None:
        raise InvalidDefinition(
            f"{saga.name}, step {step.name}: a remote pivot needs close=, else a no could turn"
            " into a yes during the compensation"
        )


def get(name: str, version: int) -> Saga[Any]:
    """Return a definition.

    :raises UnknownSaga: if the running code does not have it
    """
    saga = SAGAS.get((name, version))
    if saga is None:
        raise UnknownSaga(f"{name} version {version} is not defined here")
    return saga


def discover() -> None:
    """Import what apps define and register it: events, steps, handlers, projections and sagas.

    Of those that are contexts also ``upcasters`` and ``folds``, which are about their events; and
    ``choreographies``.
    """
    telling = [apps.get_app_config(label) for label in with_tables()]
    for module in ("events", "steps", "handlers", "projections"):
        list(_values(module))
    for module in ("upcasters", "folds"):
        _import_of(telling, module)
    for value in _values("sagas"):
        if isinstance(value, Saga):
            add(value)
    for value in _values("choreographies"):
        if isinstance(value, Choreography):
            flows.add(value)
    requests.listen()
    opening.listen()


def _values(module: str) -> Iterator[Any]:
    """Import a module of every app, and return what stands in it."""
    for config in apps.get_app_configs():
        if config.name != "sagas":
            for loaded in _modules(f"{config.name}.{module}"):
                yield from list(vars(loaded).values())


def _import_of(configs: Iterable[AppConfig], module: str) -> None:
    for config in configs:
        list(_modules(f"{config.name}.{module}"))


def _modules(name: str) -> Iterator[ModuleType]:
    if find_spec(name) is None:
        return
    module = importlib.import_module(name)
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield from _modules(f"{name}.{info.name}")
