from datetime import date

from billing.invoices.models import Invoice
from billing.invoices.numbering import series_of


def test_each_year_has_a_series_of_its_own():
    assert series_of(date(2010, 12, 31)) == "INV2010"
    assert series_of(date(2011, 1, 1)) == "INV2011"


def test_a_number_is_printed_with_its_series():
    assert Invoice(series="INV2010", number=42).label == "INV2010-000042"
