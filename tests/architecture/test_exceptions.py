"""An exception crosses process borders: Celery pickles what a task raises."""

import ast
import builtins
import inspect
import pickle
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import get_origin, get_type_hints

import pytest

from tests.architecture.source import modules

BUILT_IN = {
    name
    for name, each in vars(builtins).items()
    if isinstance(each, type) and issubclass(each, BaseException)
}


def exceptions():
    """Every exception that a module of the product defines: module and name, the bases first."""
    names, found = set(BUILT_IN), {}
    size = -1
    while size < len(found):
        size = len(found)
        for module in modules():
            for node in module.tree.body:
                if isinstance(node, ast.ClassDef) and names & {
                    ast.unparse(base).rpartition(".")[2] for base in node.bases
                }:
                    names.add(node.name)
                    found[f"{module.name}.{node.name}"] = (module.name, node.name)
    return found


EXCEPTIONS = exceptions()
del EXCEPTIONS["orders.refusals.Refusal"]  # never raised itself: the remedy is its subclasses'
SAMPLES = {str: "why", int: 7, bool: True, Sequence: (), Mapping: {}}


def sample(hint):
    kinds = [hint, *getattr(hint, "__args__", ())]
    return next(SAMPLES[get_origin(k) or k] for k in kinds if (get_origin(k) or k) in SAMPLES)


def made(cls):
    """An exception with a value for every argument that it takes."""
    if not inspect.isfunction(cls.__init__):
        return cls("why")
    hints = get_type_hints(cls.__init__)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    given = [sample(hints[p.name]) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return cls(
        *given, **{p.name: sample(hints[p.name]) for p in parameters if p.kind is p.KEYWORD_ONLY}
    )


@pytest.mark.parametrize(("module", "name"), EXCEPTIONS.values(), ids=EXCEPTIONS)
def test_an_exception_is_the_same_after_a_process_border(module, name):
    cls = getattr(import_module(module), name)
    raised = made(cls)
    again = pickle.loads(pickle.dumps(raised))

    assert type(again) is cls
    assert (again.args, str(again), vars(again)) == (raised.args, str(raised), vars(raised))


def test_the_exceptions_of_every_context_are_found():
    contexts = {name.partition(".")[0] for name in EXCEPTIONS}

    assert contexts == {"config", "orders", "billing", "payments", "sagas"}
    assert "payments.simulator.wire.Problem" in EXCEPTIONS
    assert "payments.gateway.ProviderRefusal" in EXCEPTIONS, "its base is no built-in one"
