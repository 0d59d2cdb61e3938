import ast
import re

import pytest

from tests.architecture.source import modules

# The word, and what we say. Only words that name nothing else here; the whole list is in docs.
INSTEAD = {
    "workflow": "saga",
    "pipeline": "saga",
    "coordinator": "orchestrator",
    "dispatcher": "relay",
    "poller": "relay",
    "drainer": "relay",
    "janitor": "reconciliation",
    "healing": "reconciliation",
    "healer": "reconciliation",
    "mutex": "lease",
    "epoch": "fencing token",
    "nonce": "idempotency key",
    "poison": "dead letter",
    "requeue": "resend",
    "facade": "front door",
    "backoff": "delay",
    "rollbacks": "compensation",
    "selectors": "queries",
    "timeouts": "time-out, or deadline for a saga",
    "authorise": "authorize",
    "authorised": "authorize",
    "cancelled": "canceled",
    "cancellable": "cancelable",
    "colour": "color",
    "behaviour": "behavior",
    "serialise": "serialize",
    "recognise": "recognize",
}
# The provider is another company and speaks its own language.
OURS = [m for m in modules() if not m.name.startswith("payments.simulator")]


def words(name):
    """The words of a name: snake, camel or dotted."""
    return (
        re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
        .replace("_", " ")
        .replace(".", " ")
        .lower()
        .split()
    )


def names(module):
    yield module.name
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


@pytest.mark.parametrize("module", OURS, ids=str)
def test_a_thing_has_one_name(module):
    found = {
        name: INSTEAD[word] for name in names(module) for word in words(name) if word in INSTEAD
    }

    assert found == {}


def test_a_forbidden_word_is_found_in_every_spelling():
    assert words("SagaWorkflow") == ["saga", "workflow"]
    assert words("retry_with_backoff") == ["retry", "with", "backoff"]
