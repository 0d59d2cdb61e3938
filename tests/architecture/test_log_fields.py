import ast

import pytest

from config.logs import FIELDS
from tests.architecture.source import modules


def extra_fields(tree):
    """The keys of every literal that is given as extra= to a call."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.keyword)
            and node.arg == "extra"
            and isinstance(node.value, ast.Dict)
        ):
            for key in node.value.keys:
                if isinstance(key, ast.Constant):
                    yield key.value


@pytest.mark.parametrize("module", [m for m in modules() if not m.is_migration], ids=str)
def test_a_field_that_is_logged_is_on_the_list(module):
    if module.name.startswith("payments.simulator"):
        return

    assert sorted(set(extra_fields(module.tree)) - set(FIELDS)) == []
