import json
import re

import pytest
from django.conf import settings
from django.core.management import load_command_class

from config.replay.documents import collect
from config.replay.report import as_document
from config.replay.totals import BOOKS, Sum, Totals
from config.seeding import CARDS, OPERATORS, SeededCustomer, SeededSku

DJANGOS_OWN = {
    "--help",
    "--version",
    "--verbosity",
    "--settings",
    "--pythonpath",
    "--traceback",
    "--no-color",
    "--force-color",
    "--skip-checks",
}


def page(name):
    return (settings.BASE_DIR / "docs" / name).read_text()


def options(command):
    parser = load_command_class("config", command).create_parser("manage.py", command)
    return {
        option for action in parser._actions for option in action.option_strings if "--" in option
    } - DJANGOS_OWN


def examples(text):
    """The JSON documents among the examples; shortened values are texts or left out."""
    for block in re.findall(r"^\{\"[\s\S]*?\}$", text, flags=re.MULTILINE):
        yield json.loads(block)


@pytest.mark.parametrize(
    ("command", "document"),
    [
        ("seed", "demo.md"),
        ("demo", "demo.md"),
        ("replay", "replay.md"),
    ],
)
def test_every_option_is_documented_and_no_other(command, document):
    text = page(document)
    if document == "demo.md":
        _, seed, demo = re.split(r"^## ", text, flags=re.MULTILINE)
        text = {"seed": seed, "demo": demo}[command]

    documented = set(re.findall(r"^\| `(--[\w-]+)", text, flags=re.MULTILINE))

    assert documented == options(command)


def test_the_options_of_invariants_are_explained():
    for option in options("invariants"):
        assert f"`{option}" in page("invariants.md") or f" {option}" in page("invariants.md")


def test_the_document_of_a_replay_has_the_keys_that_are_documented():
    totals = Totals(books={book: Sum() for book in BOOKS})
    printed = as_document(collect([]), totals, 1.0)
    blocks = [block for block in examples(page("replay.md")) if "sale_invoices" in block]

    assert len(blocks) == 1
    assert list(blocks[0]) == list(printed)


def test_the_document_of_a_seed_has_the_keys_that_are_documented():
    (example,) = examples(page("demo.md"))

    assert list(example) == ["customers", "skus", "operators"]
    assert list(example["customers"][0]) == list(SeededCustomer.__dataclass_fields__)
    assert tuple(example["customers"][0]["payment_methods"]) == CARDS
    assert list(example["skus"][0]) == list(SeededSku.__dataclass_fields__)
    assert tuple(example["operators"]) == OPERATORS
