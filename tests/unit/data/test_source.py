import gzip
import lzma
from datetime import date
from decimal import Decimal

import pytest

from config.replay.source import NotASalesFile, Row, Skipped, Source, Unreadable, open_source

PUBLISHED = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
SPREADSHEET = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country"
LINE = "536365,85123A,HANGING HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom"


def rows(*lines, header=PUBLISHED):
    return list(Source(key="k", text="\n".join([header, *lines])).rows())


def test_a_row_is_read_by_the_names_of_its_columns():
    assert rows(LINE) == [
        Row(
            line=2,
            document="536365",
            sku="85123A",
            description="HANGING HEART",
            quantity=6,
            on=date(2010, 12, 1),
            price=Decimal("2.55"),
            customer="17850",
        )
    ]


def test_the_spellings_of_the_spreadsheet_are_known():
    assert rows(LINE, header=SPREADSHEET) == rows(LINE)


def test_the_columns_may_stand_in_another_order():
    (row,) = rows(
        "9,A,2010-12-01,1.5,C1,K,x",
        header="Quantity,StockCode,InvoiceDate,UnitPrice,CustomerID,InvoiceNo,Description",
    )

    assert (row.quantity, row.sku, row.customer, row.document) == (9, "A", "C1", "K")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2010-12-01 08:26:00", date(2010, 12, 1)),
        ("2010-12-01", date(2010, 12, 1)),
        ("12/1/2010 8:26", date(2010, 12, 1)),
    ],
)
def test_dates_are_read_as_published_and_as_exported(written, meant):
    (row,) = rows(LINE.replace("2010-12-01 08:26:00", written))

    assert row.on == meant


def test_a_number_of_a_customer_that_became_a_fraction_is_a_number_again():
    (row,) = rows(LINE.replace("17850", "17850.0"))

    assert row.customer == "17850"


def test_an_empty_customer_is_nobody_and_an_empty_text_is_the_code():
    (row,) = rows("536365,85123A,,6,2010-12-01,2.55,,")

    assert (row.customer, row.description) == ("", "85123A")


def test_a_quoted_comma_belongs_to_the_text():
    (row,) = rows('1,A,"PACK OF 2, ""NICE""",1,2010-12-01,1,5,')

    assert row.description == 'PACK OF 2, "NICE"'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("536365,85123A", "has 2 fields"),
        ('1,A,"never closed,1,2010-12-01,1,5,UK', "is no row of a CSV file"),
        (",A,x,1,2010-12-01,1,5,UK", "has no document number"),
        ("1,,x,1,2010-12-01,1,5,UK", "has no stock code"),
        (f"1,{'A' * 65},x,1,2010-12-01,1,5,UK", "stock code that is too long"),
        ("1,A,x,six,2010-12-01,1,5,UK", "has the quantity 'six'"),
        ("1,A,x,1.5,2010-12-01,1,5,UK", "has the quantity '1.5'"),
        ("1,A,x,1000001,2010-12-01,1,5,UK", "has the quantity '1000001'"),
        ("1,A,x,1,2010-13-01,1,5,UK", "has the date '2010-13-01'"),
        ("1,A,x,1,yesterday,1,5,UK", "has the date 'yesterday'"),
        ("1,A,x,1,2010-12-01,free,5,UK", "has the price 'free'"),
        ("1,A,x,1,2010-12-01,NaN,5,UK", "has the price 'NaN'"),
        ("1,A,x,1,2010-12-01,0.0000001,5,UK", "has the price '0.0000001'"),
        ("1,A,x,1,2010-12-01,1e30,5,UK", "has the price '1e30'"),
        ("1,A,x\0y,1,2010-12-01,1,5,UK", "holds a NUL character"),
    ],
)
def test_a_row_that_cannot_be_read_says_why_and_the_next_one_follows(line, why):
    skipped, row = rows(line, LINE)

    assert isinstance(skipped, Skipped)
    assert skipped.line == 2
    assert why in skipped.why
    assert row.line == 3


def test_empty_lines_are_no_rows():
    assert rows("", LINE, "  ", "") == [row for row in rows("", LINE) if row]


@pytest.mark.parametrize(
    ("name", "packed"),
    [("a.csv", bytes), ("a.csv.xz", lzma.compress), ("renamed", gzip.compress)],
)
def test_a_file_is_unpacked_by_what_is_in_it_and_has_the_key_of_its_rows(tmp_path, name, packed):
    content = f"{PUBLISHED}\r\n{LINE}\r\n".encode()
    plain = tmp_path / "plain"
    plain.write_bytes(content)
    file = tmp_path / name
    file.write_bytes(packed(content))

    source = open_source(file)

    assert [row.document for row in source.rows()] == ["536365"]
    assert source.key == open_source(plain).key


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "latin-1"])
def test_a_pound_sign_is_read_in_every_coding(tmp_path, coding):
    file = tmp_path / "a.csv"
    file.write_bytes(f"{PUBLISHED}\n{LINE.replace('HANGING', '£5 HANGING')}".encode(coding))

    (row,) = open_source(file).rows()

    assert row.description == "£5 HANGING HEART"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lzma.compress(b"x" * 1000)[:40], "is damaged"),
        (gzip.compress(b"x" * 1000, mtime=0)[:20], "is damaged"),
        (b"PK\x03\x04xlsx", "save it as CSV"),
    ],
)
def test_what_is_no_file_of_sales_is_refused(tmp_path, content, why):
    file = tmp_path / "a"
    file.write_bytes(content)

    with pytest.raises(NotASalesFile, match=why):
        open_source(file)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NotASalesFile, match="No such file"):
        open_source(tmp_path / "missing.csv")


@pytest.mark.parametrize("header", ["", "a,b,c", PUBLISHED.replace("UnitPrice", "Cost")])
def test_a_first_line_without_the_columns_is_refused(header):
    with pytest.raises((NotASalesFile, Unreadable)):
        rows(LINE, header=header)
