import ast
import inspect

import pytest

from sagas.choreography import flows
from sagas.orchestration import handlers, registry
from tests.architecture.source import modules


def public_definitions(module):
    """The public classes and functions of a module and the public methods of its public classes."""
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                        yield f"{node.name}.{method.name}", method


@pytest.mark.parametrize(
    "module",
    [m for m in modules() if m.package == "sagas" and not m.is_migration],
    ids=str,
)
def test_every_public_name_of_the_engine_says_what_it_is(module):
    silent = [
        name
        for name, node in public_definitions(module)
        if not (ast.get_docstring(node) or "").partition("\n")[0].endswith((".", ":"))
    ]

    assert silent == []


def repeated_functions():
    """Every function that reaches out, and every one that undoes: these run more than once."""
    for flow in flows.FLOWS.values():
        yield from (hop.undo for hop in flow.hops if hop.undo is not None)
    undone = {
        step.undo.__annotations__.get("return")
        for saga in registry.SAGAS.values()
        for step in saga.steps
        if step.undo
    }
    for handler in handlers.HANDLERS.values():
        for function in (handler.call, handler.close):
            if function is not None:
                yield function
        if handler.command in undone and handler.call is None:
            yield handler.carry_out


def is_real(function):
    """What a simulation in this process has put in the place of handlers does nothing."""
    return not function.__module__.startswith("sagas.simulation.")


def test_what_is_repeated_says_why_that_is_safe():
    silent = [
        f"{function.__module__}.{function.__qualname__}"
        for function in filter(is_real, repeated_functions())
        if not any(
            line.startswith("Safe to repeat:")
            for line in (inspect.getdoc(function) or "").splitlines()
        )
    ]

    assert silent == []


def test_there_is_something_to_look_at():
    assert list(filter(is_real, repeated_functions()))
