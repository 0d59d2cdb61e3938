from datetime import date
from decimal import Decimal

import pytest

from config.replay.documents import collect
from config.replay.source import Row, Skipped


def row(line=2, document="1", *, quantity=1, price="1.00", customer="17850", sku="A", day=1):
    return Row(
        line=line,
        document=document,
        sku=sku,
        description=f"The {sku}",
        quantity=quantity,
        on=date(2010, 12, day),
        price=Decimal(price),
        customer=customer,
    )


def test_the_rows_of_a_document_are_one_sale_even_where_they_are_apart():
    documents = collect(
        [row(2, "1", sku="A"), row(3, "2", sku="B"), row(4, "1", sku="C", quantity=3)]
    )

    assert [(sale.number, [line.sku for line in sale.lines]) for sale in documents.sales] == [
        ("1", ["A", "C"]),
        ("2", ["B"]),
    ]
    assert (documents.lines, documents.total) == (3, 500)


def test_an_item_may_stand_on_several_lines():
    (sale,) = collect([row(2, sku="A", quantity=2), row(3, sku="A", quantity=5)]).sales

    assert [(line.sku, line.quantity) for line in sale.lines] == [("A", 2), ("A", 5)]


@pytest.mark.parametrize(
    ("price", "quantity", "pence"),
    [
        ("0.001", 4, 0),
        ("0.001", 5, 1),
        ("0.005", 1, 1),
        ("2.675", 1, 268),
        ("2.665", 1, 267),
        ("0.125", 3, 38),
        ("1.0849", 1, 108),
        ("12.75", 7, 8925),
    ],
)
def test_a_line_is_rounded_half_up_to_the_penny(price, quantity, pence):
    (sale,) = collect([row(price="9"), row(3, price=price, quantity=quantity)]).sales

    assert sale.lines[1].total == pence
    assert sale.lines[1].unit_price == Decimal(price) * 100


def test_cancellations_are_counted_by_document_and_line_and_not_replayed():
    documents = collect(
        [
            row(2, "C1", quantity=-2, price="1.255"),
            row(3, "C1", quantity=-1, price="3"),
            row(4, "C2", quantity=-1, price="4"),
            row(5, "C3", quantity=-1, price="4", customer=""),
            row(6, "7"),
        ]
    )

    assert documents.cancellation_documents == 2
    assert documents.cancellation_lines == 3
    assert documents.cancellations_minor == -251 - 300 - 400
    assert [sale.number for sale in documents.sales] == ["7"]
    assert documents.left_out == {"without a customer": 1}


def test_what_is_no_sale_to_a_known_customer_is_left_out_and_counted():
    documents = collect(
        [
            row(2, "1", customer=""),
            row(3, "2", quantity=-4),
            row(4, "3", price="0"),
            row(5, "4", price="-11062.06"),
            row(6, "5"),
        ]
    )

    assert [sale.number for sale in documents.sales] == ["5"]
    assert documents.left_out == {
        "without a customer": 1,
        "without a quantity": 1,
        "without a price": 2,
    }
    assert documents.skipped == ()


def test_the_day_of_a_sale_is_that_of_its_first_row():
    (sale,) = collect([row(2, day=1), row(3, day=2)]).sales

    assert sale.business_date == date(2010, 12, 1)


def test_until_ends_with_the_last_day_that_counts():
    documents = collect(
        [row(2, "1", day=1), row(3, "2", day=2), row(4, "3", day=3)], until=date(2010, 12, 2)
    )

    assert [sale.number for sale in documents.sales] == ["1", "2"]
    assert documents.left_out == {"after the last day asked for": 1}


def test_a_row_of_another_customer_does_not_get_into_a_sale():
    documents = collect([row(2), row(3, customer="99999"), row(4)])

    assert len(documents.sales[0].lines) == 2
    assert documents.skipped == (Skipped(line=3, why="document 1 belongs to another customer"),)


def test_a_sale_that_comes_to_nothing_is_named_and_not_replayed():
    documents = collect([row(2, "1", price="0.001"), row(3, "2")])

    assert [sale.number for sale in documents.sales] == ["2"]
    assert documents.skipped == (Skipped(line=2, why="document 1 comes to nothing"),)


def test_rows_that_cannot_be_read_are_kept_in_the_order_of_the_file():
    documents = collect(
        [row(2, "1", price="0.001"), Skipped(line=3, why="has 2 fields"), row(4, "2")]
    )

    assert [skipped.line for skipped in documents.skipped] == [2, 3]


def test_customers_are_listed_once():
    documents = collect([row(2, "1"), row(3, "2", customer="9"), row(4, "3")])

    assert documents.customers == ("17850", "9")
