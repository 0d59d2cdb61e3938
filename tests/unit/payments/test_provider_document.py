import ast
import re
from pathlib import Path

import pytest

from payments.simulator.cards import ACTIONS, CARDS, OPERATIONS

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "provider-simulator.md").read_text()
SOURCES = sorted((ROOT / "payments" / "simulator").glob("*.py"))


def first_cells(heading, column):
    section = DOCUMENT.split(heading, 1)[1]
    table = section.split(f"| {column} |", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE))


def test_every_card_is_described():
    assert first_cells("## Test cards", "token") == set(CARDS)


def test_every_fault_is_described():
    assert first_cells("## Faults on demand", "action") == set(ACTIONS)


def test_every_operation_is_described():
    line = next(line for line in DOCUMENT.splitlines() if line.startswith("| `operation` |"))

    assert set(re.findall(r"`(\w+)`", line)) - {"operation"} == set(OPERATIONS)


def test_every_variable_of_the_environment_is_described():
    read = {
        name
        for source in SOURCES
        for name in re.findall(r'environ(?:\.get\(|\[)"(SIMULATOR_\w+)"', source.read_text())
    }
    set_by_options = {"SIMULATOR_HOST", "SIMULATOR_PORT"}

    assert first_cells("## Environment", "name") == read - set_by_options


def test_every_event_and_address_is_described():
    book = (ROOT / "payments" / "simulator" / "book.py").read_text()
    urls = (ROOT / "payments" / "simulator" / "urls.py").read_text()

    for name in re.findall(r'"((?:intent|refund)\.\w+)"', book):
        assert f"`{name}`" in DOCUMENT
    for address in re.findall(r'path\("([^"]+)"', urls):
        assert f"/{address.replace('<str:ref>', '<id>')}" in DOCUMENT


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_provider_imports_nothing_of_the_project(source):
    ours = {"config", "orders", "billing", "payments", "sagas", "tests"}
    named = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            named.add(node.module or "")
        elif isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)

    foreign = {name for name in named if name.split(".")[0] in ours}
    assert {name for name in foreign if not name.startswith("payments.simulator")} == set()


def test_the_project_imports_nothing_of_the_provider():
    importers = [
        path.relative_to(ROOT)
        for context in ("config", "orders", "billing", "payments", "sagas")
        for path in (ROOT / context).rglob("*.py")
        if "simulator" not in path.relative_to(ROOT).parts
        and re.search(r"^\s*(from|import) payments\.simulator", path.read_text(), re.MULTILINE)
    ]

    assert importers == []
