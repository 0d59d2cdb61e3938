"""Why the suite runs as the roles of the contexts, and hardly at all without them.

As a role, a transaction sends one statement more and may do less; nothing else depends on it.
"""

import ast

from tests.architecture.source import ROOT, modules

SWITCH = "CONTEXT_ROLES"


def speaks_of(node: ast.AST) -> bool:
    return any(
        SWITCH in (getattr(each, "id", ""), getattr(each, "attr", ""), getattr(each, "value", ""))
        for each in ast.walk(node)
    )


def test_the_product_asks_in_one_function_and_the_suite_in_one_whether_it_runs_as_roles():
    asking = {
        f"{module.name}.{function.name}"
        for module in modules()
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef) and speaks_of(function)
    }
    told = {module.name for module in modules() if speaks_of(module.tree)}

    assert asking == {"sagas.transactions._take_role", "config.bootstrap.run_tests"}
    assert told == {"sagas.transactions", "config.settings", "config.bootstrap"}


def test_no_test_is_left_out_or_another_one_as_a_role():
    asking = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.If | ast.IfExp) and speaks_of(node.test))
        or (isinstance(node, ast.Call) and speaks_of(node))
    }

    # The one hands it on to what it starts, the other looks at how the suite is started.
    assert asking == {"tests/processes.py", "tests/unit/config/test_bootstrap.py"}
