"""Reading the file: plain or compressed, in either spelling of its columns, row by row."""

import csv
import gzip
import hashlib
import lzma
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

XZ: Final = b"\xfd7zXZ\x00"
GZIP: Final = b"\x1f\x8b"
ZIP: Final = b"PK\x03\x04"
# The names of the published CSV file, and those of the spreadsheet.
COLUMNS: Final = {
    "document": ("invoiceno", "invoice"),
    "sku": ("stockcode",),
    "quantity": ("quantity",),
    "at": ("invoicedate",),
    "price": ("unitprice", "price"),
    "customer": ("customerid",),
    "description": ("description",),
}
AMERICAN: Final = "%m/%d/%Y %H:%M"
LONGEST_KEY: Final = 64
LONGEST_QUANTITY: Final = 1_000_000
# Pounds; in pence, prices have four places.
FINEST_PRICE: Final = Decimal("0.000001")
HIGHEST_PRICE: Final = Decimal(10**9)


class NotASalesFile(Exception):
    """The file cannot be read as sales at all."""


class Unreadable(Exception):
    """A row says something that cannot be understood."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a document, as the file has it; the price in pounds."""

    line: int
    document: str
    sku: str
    description: str
    quantity: int
    on: date
    price: Decimal
    customer: str
    """Empty where the file does not know who bought."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A row that was left out because it cannot be read."""

    line: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The content of a file."""

    key: str
    """The same for the same rows, however the file is called or compressed."""
    text: str

    def rows(self) -> Iterator[Row | Skipped]:
        """Yield every row; one that cannot be read says why, and the next follows.

        :raises NotASalesFile: if the first line does not name the columns
        """
        lines = enumerate(self.text.split("\n"), start=1)
        _, first = next(lines)
        columns = _columns(first)
        for number, line in lines:
            if line.strip():
                try:
                    yield _row(number, line, columns)
                except Unreadable as why:
                    yield Skipped(line=number, why=str(why))


def open_source(path: Path) -> Source:
    """Read a file, whatever it is compressed with.

    :raises NotASalesFile: if it cannot be read or decompressed
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise NotASalesFile(f"{path} cannot be read: {error.strerror}") from error
    try:
        if raw.startswith(XZ):
            raw = lzma.decompress(raw)
        elif raw.startswith(GZIP):
            raw = gzip.decompress(raw)
    except (lzma.LZMAError, EOFError, OSError, zlib.error) as error:
        raise NotASalesFile(f"{path} is damaged: {error}") from error
    if raw.startswith(ZIP):
        raise NotASalesFile(f"{path} is a spreadsheet or an archive: save it as CSV first")
    return Source(key=hashlib.sha256(raw).hexdigest()[:16], text=_decoded(raw))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # the published file is; it has a pound sign in some texts


def _columns(first: str) -> Mapping[str, int]:
    names = [name.strip().lower().replace(" ", "") for name in _fields(first)]
    columns = {
        field: names.index(spelling)
        for field, spellings in COLUMNS.items()
        for spelling in spellings
        if spelling in names
    }
    missing = [COLUMNS[field][0] for field in COLUMNS if field not in columns]
    if missing:
        raise NotASalesFile(f"the first line names no column {', '.join(missing)}")
    return columns


def _fields(line: str) -> list[str]:
    # Line by line, so that a quote that is never closed costs one row and not the rest.
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise Unreadable(f"is no row of a CSV file: {error}") from error


def _row(number: int, line: str, columns: Mapping[str, int]) -> Row:
    fields = _fields(line)
    if len(fields) <= max(columns.values()):
        raise Unreadable(f"has {len(fields)} fields")
    if "\0" in line:
        raise Unreadable("holds a NUL character")
    cells = {name: fields[column].strip() for name, column in columns.items()}
    return Row(
        line=number,
        document=_key("document number", cells["document"]),
        sku=_key("stock code", cells["sku"]),
        description=cells["description"] or cells["sku"],
        quantity=_quantity(cells["quantity"]),
        on=_date(cells["at"]),
        price=_price(cells["price"]),
        customer=_customer(cells["customer"]),
    )


def _key(what: str, text: str) -> str:
    if not 1 <= len(text) <= LONGEST_KEY:
        raise Unreadable(f"has no {what}" if not text else f"has a {what} that is too long")
    return text


def _customer(text: str) -> str:
    # Spreadsheets turn numbers with gaps into fractions.
    text = text.removesuffix(".0")
    return _key("customer", text) if text else ""


def _quantity(text: str) -> int:
    number = _number("quantity", text)
    if number != int(number) or abs(number) > LONGEST_QUANTITY:
        raise Unreadable(f"has the quantity {text!r}")
    return int(number)


def _price(text: str) -> Decimal:
    price = _number("price", text)
    if abs(price) > HIGHEST_PRICE or price % FINEST_PRICE:
        raise Unreadable(f"has the price {text!r}")
    return price


def _number(what: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Unreadable(f"has the {what} {text!r}") from None
    if not number.is_finite():
        raise Unreadable(f"has the {what} {text!r}")
    return number


def _date(text: str) -> date:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        pass
    try:
        return datetime.strptime(text, AMERICAN).replace(tzinfo=UTC).date()
    except ValueError:
        raise Unreadable(f"has the date {text!r}") from None
