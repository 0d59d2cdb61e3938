"""Invoice numbers without a gap."""

from datetime import date

from sagas.api import connection_of, transaction_required

_NEXT = """
INSERT INTO billing_numberseries AS s (series, next) VALUES (%s, 2)
ON CONFLICT (series) DO UPDATE SET next = s.next + 1
RETURNING next - 1
"""


def series_of(business_date: date) -> str:
    """Return the series that invoices of a day are numbered in: one a year."""
    return f"INV{business_date.year}"


def take_number(series: str) -> int:
    """Return the next number of a series.

    Take it as late in the transaction as possible: from here to the commit nobody else gets a
    number of the series. That wait is the price of having no gap, for a number that was taken
    and rolled back must be given to the next.
    """
    transaction_required()
    with connection_of("billing").cursor() as cursor:
        cursor.execute(_NEXT, [series])
        return int(cursor.fetchall()[0][0])
