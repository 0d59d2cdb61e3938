from decimal import Decimal

import pytest

from config.templatetags.money import money
from config.templatetags.words import calm


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (4200, "GBP", "£42.00"),
        (5, "GBP", "£0.05"),
        (0, "EUR", "€0.00"),
        (123456789, "USD", "$1,234,567.89"),
        (-300, "GBP", "\N{MINUS SIGN}£3.00"),
        (4200, "JPY", "¥4,200"),
        (4200, "KWD", "KWD\N{NO-BREAK SPACE}4.200"),
        (4200, "CHF", "CHF\N{NO-BREAK SPACE}42.00"),
        (Decimal("42.5000"), "GBP", "£0.425"),
        (Decimal("250.0000"), "GBP", "£2.50"),
        (Decimal(10**16), "GBP", "£100,000,000,000,000.00"),
    ],
)
def test_an_amount_is_written_as_people_read_it(amount, currency, text):
    assert money(amount, currency) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [("WHITE HANGING HEART", "White hanging heart"), ("Enamel tea mug", "Enamel tea mug")],
)
def test_names_do_not_shout(name, shown):
    assert calm(name) == shown
