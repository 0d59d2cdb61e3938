"""From a request to a draft: everything is looked up and checked, nothing is written.

Runs outside a transaction, because it asks ``payments`` too, and no transaction touches two
contexts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from orders.models import Customer, Sku
from orders.pricing import line_total
from orders.refusals import (
    QUANTITY_LIMIT,
    TOTAL_LIMIT,
    BadPrice,
    BadQuantity,
    EmptyCart,
    InactiveSku,
    MixedCurrencies,
    OrderRefused,
    Refusal,
    TotalOutOfRange,
    UnknownCustomer,
    UnknownPaymentMethod,
    UnknownSku,
)
from payments import api as payments
from sagas.api import clock

PRICE_DECIMALS = 4
PRICE_LIMIT = Decimal(10**14)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """An item of the catalogue, at the price of the catalogue."""

    sku: str
    quantity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PricedLine:
    """An item at a price agreed elsewhere, as an import of past orders has it."""

    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftLine:
    """A line that can be ordered as it stands."""

    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    currency: str
    line_total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderDraft:
    """An order that can be placed as it stands."""

    customer_id: UUID
    payment_method_id: UUID
    currency: str
    lines: tuple[DraftLine, ...]
    total: int
    business_date: date
    reference: str | None = None
    from_cart: bool = False
    """The lines are those of the customer's cart, which placing the order empties."""


def draft_order(
    *,
    customer_id: UUID,
    lines: Sequence[Line | PricedLine],
    payment_method_id: UUID,
    reference: str | None = None,
    business_date: date | None = None,
    from_cart: bool = False,
) -> OrderDraft:
    """Check what a customer asks for and price it.

    :raises OrderRefused: with everything that is wrong, not only the first
    """
    drafted, problems = _draft_lines(lines)
    problems += _problems_of_payer(customer_id, payment_method_id)
    if not problems:
        problems = _problems_of_whole(drafted)
    if problems:
        raise OrderRefused(problems)
    return OrderDraft(
        customer_id=customer_id,
        payment_method_id=payment_method_id,
        currency=drafted[0].currency,
        lines=tuple(drafted),
        total=sum(line.line_total for line in drafted),
        business_date=business_date or clock.now().date(),
        reference=reference,
        from_cart=from_cart,
    )


def _problems_of_payer(customer_id: UUID, method_id: UUID) -> list[Refusal]:
    if not Customer.objects.filter(id=customer_id).exists():
        return [UnknownCustomer("There is no such customer.", "customer")]
    if payments.method_of(customer_id, method_id) is None:
        return [UnknownPaymentMethod("You have no such payment method.", "payment_method")]
    return []


def _problems_of_whole(lines: Sequence[DraftLine]) -> list[Refusal]:
    if len({line.currency for line in lines}) > 1:
        return [MixedCurrencies("The items are priced in different currencies.", "lines")]
    if not 0 < sum(line.line_total for line in lines) <= TOTAL_LIMIT:
        return [TotalOutOfRange("The order comes to an amount that cannot be charged.", "lines")]
    return []


def _draft_lines(lines: Sequence[Line | PricedLine]) -> tuple[list[DraftLine], list[Refusal]]:
    if not lines:
        return [], [EmptyCart("There is nothing to order.", "lines")]
    codes = {line.sku for line in lines if isinstance(line, Line)}
    skus = Sku.objects.select_related("product").in_bulk(list(codes), field_name="code")
    drafted: list[DraftLine] = []
    problems: list[Refusal] = []
    for index, line in enumerate(lines):
        found = list(_problems_of_line(index, line, skus))
        problems += found
        if not found:
            drafted.append(_priced(line, skus))
    return drafted, problems


def _problems_of_line(
    index: int, line: Line | PricedLine, skus: dict[str, Sku]
) -> Sequence[Refusal]:
    problems: list[Refusal] = []
    if not 1 <= line.quantity <= QUANTITY_LIMIT:
        problems.append(
            BadQuantity(
                f"{line.quantity} is not a quantity of {line.sku}.",
                f"lines[{index}].quantity",
                index,
            )
        )
    if isinstance(line, PricedLine):
        return problems + _problems_of_price(index, line)
    sku = skus.get(line.sku)
    if sku is None:
        problems.append(UnknownSku(f"There is no item {line.sku!r}.", f"lines[{index}].sku", index))
    elif not (sku.active and sku.product.active):
        problems.append(
            InactiveSku(f"{line.sku} is no longer for sale.", f"lines[{index}].sku", index)
        )
    return problems


def _problems_of_price(index: int, line: PricedLine) -> list[Refusal]:
    price = line.unit_price
    if price.is_finite() and 0 < price < PRICE_LIMIT and price == round(price, PRICE_DECIMALS):
        return []
    return [BadPrice(f"{price} is not a price.", f"lines[{index}].unit_price", index)]


def _priced(line: Line | PricedLine, skus: dict[str, Sku]) -> DraftLine:
    if isinstance(line, PricedLine):
        price, currency, description = line.unit_price, line.currency, line.description
    else:
        sku = skus[line.sku]
        price, currency, description = sku.unit_price, sku.currency, sku.product.name
    return DraftLine(
        sku=line.sku,
        description=description[:200],
        quantity=line.quantity,
        unit_price=price,
        currency=currency,
        line_total=line_total(price, line.quantity),
    )
