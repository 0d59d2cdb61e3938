"""Every variant of the models ends as expected: safe, or broken without a needed guard."""

import re

import pytest

from tests.models import search
from tests.models.search import GUARDS, MODELS, README, VARIANTS

long = pytest.mark.long


@long
@pytest.mark.skipif(not search.is_there(), reason="spin or cc is missing: apt-get install spin gcc")
@pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda one: f"{one.what} [{one.without}]" if one.without else one.what
)
def test_a_variant_ends_as_expected(variant):
    result = search.search(variant)

    assert result.breaks is variant.breaks, result.says


@pytest.mark.parametrize("model", GUARDS)
def test_each_guard_is_left_out_once_and_is_known_to_its_model(model):
    text = (MODELS / model).read_text()
    asked = set(re.findall(r"^#if(?:n?def) ([A-Z_]+)$", text, re.MULTILINE))
    left_out = {name for one in VARIANTS if one.model == model for name in one.without.split()}

    assert set(GUARDS[model].split()) - asked == set()
    assert set(GUARDS[model].split()) - left_out == set()


def test_the_table_shows_every_variant_and_what_is_expected_of_it():
    rows = re.findall(r"^\| (.+?) \| (.*?) \| (safe|BREAKS) \|", README.read_text(), re.MULTILINE)

    assert rows == [
        (
            variant.what,
            f"`{variant.without}`" if variant.without else "",
            "BREAKS" if variant.breaks else "safe",
        )
        for variant in VARIANTS
    ]
