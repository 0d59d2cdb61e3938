import ast
import re
import subprocess

import pytest

from tests.architecture.source import ROOT, modules

VISIBLE = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "billing",
    "config",
    "deploy",
    "docs",
    "manage.py",
    "orders",
    "payments",
    "requirements.txt",
    "sagas",
    "tests",
}
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "managers"}
DJANGOS_OWN = {"config.postgresql.base"}
EXTRAS = ("config/requirements-bench.txt", "config/requirements-otel.txt")
LOCKS = ("requirements.txt", "tests/requirements.txt", *EXTRAS)
LONGEST_MODULE = 300
LONGEST_FUNCTION = 40
NOTE = re.compile(r"^\s*(?:#\s*)?Note \[([^\]]+)\]\s*$", re.MULTILINE)
REFERENCE = re.compile(r"Note\s+(?:#\s*)?\[([^\]]+)\]")

written = [module for module in modules() if not module.is_migration]


def tracked():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return listed.stdout.splitlines()


def test_the_root_holds_what_it_should_and_nothing_else():
    entries = {path.partition("/")[0] for path in tracked()}
    if not entries:
        pytest.skip("not a git checkout")

    assert {entry for entry in entries if not entry.startswith(".")} <= VISIBLE


@pytest.mark.parametrize("module", written, ids=str)
def test_a_module_is_named_after_what_it_does_and_is_short_enough_to_read(module):
    shapeless = SHAPELESS & set(module.name.split("."))

    assert not shapeless or module.name in DJANGOS_OWN
    assert len(module.text.splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("module", written, ids=str)
def test_a_function_fits_on_a_screen(module):
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", [m for m in modules() if ".models" in m.name], ids=str)
def test_no_table_is_put_into_a_schema_by_a_quoted_name(module):
    assert '"."' not in module.text
    assert '\\".\\"' not in module.text


def test_every_note_that_is_referred_to_is_written_once():
    text = {module.name: module.text for module in modules()}
    notes = [title for body in text.values() for title in NOTE.findall(body)]
    references = {title for body in text.values() for title in REFERENCE.findall(body)}

    assert sorted(notes) == sorted(set(notes))
    assert references == set(notes)


@pytest.mark.parametrize("module", written, ids=str)
def test_every_module_says_what_it_is_for(module):
    if not module.tree.body:
        return

    first = (ast.get_docstring(module.tree) or "").partition("\n")[0]
    assert first.endswith((".", ":"))


def names_of_hosts(text):
    return re.findall(r"https?://([\w.-]+)", text)


def test_the_locks_name_no_package_host():
    for lock in LOCKS:
        assert names_of_hosts((ROOT / lock).read_text()) == []


def test_everything_in_the_locks_has_a_hash():
    for lock in LOCKS:
        text = (ROOT / lock).read_text()
        requirements = re.findall(r"^[a-z0-9][^ \n]*==[^\n]*\n +--hash=sha256:", text, re.MULTILINE)
        assert len(requirements) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE))


def test_the_lock_of_the_tests_agrees_with_the_lock_of_the_product():
    def pins(lock):
        return set(
            re.findall(r"^([a-z0-9][^ \n]*==[^ ;\n]*)", (ROOT / lock).read_text(), re.MULTILINE)
        )

    assert pins("requirements.txt") <= pins("tests/requirements.txt")


@pytest.mark.parametrize("lock", EXTRAS)
def test_the_lock_of_an_extra_takes_nothing_of_the_product_in_another_version(lock):
    ours, extra = (
        dict(re.findall(r"^([a-z0-9][^ \n]*)==([^ ;\n]*)", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.txt", lock)
    )

    assert {
        name: version for name, version in extra.items() if ours.get(name, version) != version
    } == {}
