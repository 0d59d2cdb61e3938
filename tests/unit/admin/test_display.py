from datetime import UTC, datetime, timedelta

import pytest

from sagas.admin.display import chip, link, money, plain_money, short, shortened
from sagas.durations import duration, relative


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-3, "0 ms"),
        (0.0416, "42 ms"),
        (1.25, "1.2 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (7384, "2 h 3 min"),
        (86_400, "1 d"),
        (86_400 + 59, "1 d"),
        (3 * 86_400 + 7200, "3 d 2 h"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(seconds, text):
    assert duration(timedelta(seconds=seconds)) == text


def test_an_instant_is_told_from_now():
    now = datetime(2026, 11, 20, tzinfo=UTC)

    assert relative(now - timedelta(seconds=90), now) == "1 min 30 s ago"
    assert relative(now + timedelta(seconds=5), now) == "in 5.0 s"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123_456, "GBP", "1,234.56 GBP"),
        (5, "GBP", "0.05 GBP"),
        (-250, "EUR", "-2.50 EUR"),
        (500, "JPY", "500 JPY"),
        (1500, "KWD", "1.500 KWD"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(minor, currency, text):
    assert plain_money(minor, currency) == text
    assert f'title="{minor} minor units"' in money(minor, currency)


def test_a_status_has_a_sign_and_a_word():
    assert chip("parked") == (
        '<span class="chip chip-parked"><span class="chip-sign" aria-hidden="true">‖</span>'
        "parked</span>"
    )


def test_nothing_that_is_shown_becomes_markup():
    assert "<b>" not in chip("<b>") + link("/", "<b>") + short("<b>") + shortened("<b>" * 50)


def test_a_long_id_is_shown_by_its_ends():
    text = short("01a1f8d0-b526-7f4a-8ed4-06cb409eb9d8")

    assert ">01a1f8d0…9eb9d8<" in text
    assert "01a1f8d0-b526-7f4a-8ed4-06cb409eb9d8" in text
