from decimal import Decimal

import pytest

from orders.pricing import line_total


@pytest.mark.parametrize(
    ("unit_price", "quantity", "total"),
    [
        ("255", 6, 1530),
        ("0.1", 4, 0),
        ("0.1", 5, 1),
        ("0.1", 14, 1),
        ("0.5", 1, 1),
        ("0.4999", 1, 0),
        ("33.3333", 3, 100),
        ("99999999999999.9999", 1_000_000, 99_999_999_999_999_999_900),
    ],
)
def test_a_line_is_rounded_half_up_once(unit_price, quantity, total):
    assert line_total(Decimal(unit_price), quantity) == total
