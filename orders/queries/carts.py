"""The cart, priced."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db.models import Sum

from orders.inventory.services import available
from orders.models import CartLine
from orders.pricing import line_total


@dataclass(frozen=True, kw_only=True, slots=True)
class CartLineView:
    """An item in the cart."""

    sku: str
    name: str
    quantity: int
    unit_price: Decimal
    line_total: int
    currency: str
    for_sale: bool
    enough: bool
    """Whether that many are there now; nothing is reserved by putting it into the cart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CartView:
    """A customer's cart."""

    lines: tuple[CartLineView, ...]
    currency: str
    total: int

    @property
    def contents(self) -> str:
        """Return a digest of what is in it, to tell later whether that is still so."""
        return contents_of((line.sku, line.quantity) for line in self.lines)


def contents_of(lines: Iterable[tuple[str, int]]) -> str:
    """Return a digest of items and how many there are of each."""
    return hashlib.sha256(json.dumps(sorted(lines)).encode()).hexdigest()


def cart_of(customer_id: UUID) -> CartView:
    """Return what a customer has in the cart."""
    rows = list(
        CartLine.objects.select_related("sku__product")
        .filter(cart__customer_id=customer_id)
        .order_by("id")
    )
    stock = available([row.sku.code for row in rows])
    lines = tuple(_view(row, stock) for row in rows)
    return CartView(
        lines=lines,
        currency=lines[0].currency if lines else "",
        total=sum(line.line_total for line in lines),
    )


def items_in_cart(user_id: int) -> int:
    """Return how many items whoever signed in has in the cart, for the corner of every page."""
    mine = CartLine.objects.filter(cart__customer__user_id=user_id)
    return int(mine.aggregate(sum=Sum("quantity"))["sum"] or 0)


def _view(row: CartLine, stock: dict[str, int]) -> CartLineView:
    sku = row.sku
    return CartLineView(
        sku=sku.code,
        name=sku.product.name,
        quantity=row.quantity,
        unit_price=sku.unit_price,
        line_total=line_total(sku.unit_price, row.quantity),
        currency=sku.currency,
        for_sale=sku.active and sku.product.active,
        enough=stock.get(sku.code, 0) >= row.quantity,
    )
