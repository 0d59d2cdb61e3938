"""What the sales need before they can be ordered: customers with a card, items, stock.

Each is made once, by a key of the file, so a preparation that was killed is taken up.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

from config.replay.asking import asked
from config.replay.documents import Sale
from orders.api import NewSku, add_products, receive_stock, register_customer
from payments.api import register_method

CARD: Final = "card_good"
CURRENCY: Final = "GBP"
BATCH: Final = 1000

Note = Callable[[str], None]


class Buyers:
    """The customers of the file, and the card of each."""

    def __init__(self, methods: dict[str, tuple[UUID, UUID]]) -> None:
        """Keep customer and payment method by the file's number of the customer."""
        self._methods = methods

    def of(self, sale: Sale) -> tuple[UUID, UUID]:
        """Return who buys, and the card."""
        return self._methods[sale.customer]


def prepare(to_place: Sequence[Sale], every: Sequence[Sale], *, key: str, note: Note) -> Buyers:
    """Make what is missing for the sales that are still to be placed.

    :param every: all sales of the file, whose sum is the opening stock
    :param key: of the file; the stock is booked once for it
    """
    note("customers")
    buyers = _buyers(sale.customer for sale in to_place)
    note("items")
    _add_skus(to_place)
    note("opening stock")
    _book_stock(every, key)
    return Buyers(buyers)


def _buyers(numbers: Iterable[str]) -> dict[str, tuple[UUID, UUID]]:
    wanted = list(dict.fromkeys(numbers))
    known = dict(
        asked(
            "SELECT reference, customer_id FROM audit.v_customers"
            " WHERE reference = ANY(%(wanted)s)",
            wanted=wanted,
        )
    )
    buyers = {}
    for number in wanted:
        customer_id = (
            known.get(number)
            or register_customer(
                email=f"customer-{number}@example.test",
                name=f"Customer {number}",
                reference=number,
                currency=CURRENCY,
            ).id
        )
        buyers[number] = (customer_id, register_method(customer_id, CARD).id)
    return buyers


def _add_skus(sales: Sequence[Sale]) -> None:
    items = {
        line.sku: NewSku(
            code=line.sku,
            name=line.description[:200],
            unit_price=line.unit_price,
            currency=CURRENCY,
        )
        for sale in sales
        for line in sale.lines
    }
    for batch in _batches(items.values()):
        add_products(batch)


def _book_stock(sales: Sequence[Sale], key: str) -> None:
    ref = f"replay {key}"
    booked = dict(
        asked(
            "SELECT sku, sum(delta)::bigint FROM audit.v_stock_movements"
            " WHERE kind = 'receipt' AND starts_with(ref, %(ref)s) GROUP BY sku",
            ref=ref,
        )
    )
    needed: Counter[str] = Counter()
    for sale in sales:
        for line in sale.lines:
            needed[line.sku] += line.quantity
    for sku, quantity in sorted(needed.items()):
        missing = quantity - booked.get(sku, 0)
        if missing > 0:
            # The sum is part of the key: a later run that goes on to a later day books the rest.
            receive_stock(sku=sku, quantity=missing, ref=f"{ref} up to {quantity}")


def _batches(items: Iterable[NewSku]) -> Iterator[list[NewSku]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch
