"""What goes in and what comes out, as types."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Schema
from pydantic import ConfigDict, StrictInt, StringConstraints

from orders.queries import BoardEntry, OrderDetail, ProductView

LONGEST_ORDER = 2000
# PostgreSQL has no text with a null character in it.
Text = Annotated[str, StringConstraints(strict=True, max_length=64, pattern=r"^[^\x00]*$")]


class LineIn(Schema):
    """What is ordered, and how many of it."""

    model_config = ConfigDict(extra="forbid")

    sku: Text
    quantity: StrictInt = Field(description="From 1 to 1,000,000.")


class OrderIn(Schema):
    """An order to be placed."""

    model_config = ConfigDict(extra="forbid")

    lines: list[LineIn] = Field(max_length=LONGEST_ORDER)
    payment_method: UUID = Field(description="One of the customer's payment methods.")


class LineOut(Schema):
    """One line of an order or an invoice; prices and amounts count minor units."""

    position: int
    sku: str
    description: str
    quantity: int
    unit_price: str = Field(description="Minor units, perhaps with decimals.")
    line_total: int


class SagaOut(Schema):
    """The checkout behind an order."""

    id: UUID
    status: str


class OrderOut(Schema):
    """An order; amounts count minor units."""

    id: UUID
    number: str
    status: str = Field(description="pending, confirmed, failed or canceled.")
    reason: str | None = Field(description="Why it failed or was canceled.")
    progress: str = Field(description="Where it stands, in the customer's words.")
    cancelable: bool
    currency: str
    goods: int
    total: int
    payment_method: UUID
    saga: SagaOut
    business_date: date
    placed_at: datetime
    confirmed_at: datetime | None
    closed_at: datetime | None
    lines: list[LineOut]


class OrderSummaryOut(Schema):
    """An order in a list."""

    id: UUID
    number: str
    status: str
    reason: str | None
    progress: str = Field(description="Where it stands, in the customer's words.")
    payment: str | None = Field(
        description="authorized, captured, declined or voided; null while nothing is known."
    )
    invoice: str | None = Field(description="Number of its invoice, once there is one.")
    updating: bool = Field(
        description="Payment and invoice are not known yet; the rest is as it is now."
    )
    currency: str
    total: int
    placed_at: datetime


class OrderPage(Schema):
    """Some of a customer's orders, the newest first."""

    data: list[OrderSummaryOut]
    as_of: datetime = Field(
        description="Whatever was told before this is in every order that is not updating."
    )
    next: str | None = Field(description="Where the list goes on; null at its end.")


class SkuOut(Schema):
    """An item that can be ordered."""

    sku: str
    unit_price: str
    currency: str
    available: int


class ProductOut(Schema):
    """A product and the items it comes in."""

    slug: str
    name: str
    description: str
    skus: list[SkuOut]


class ProductPage(Schema):
    """Some of the products for sale, by name."""

    data: list[ProductOut]
    next: str | None


class PaymentMethodOut(Schema):
    """A card the customer can pay with."""

    id: UUID
    brand: str
    last4: str
    label: str
    kind: str


class PaymentMethodPage(Schema):
    """The cards the customer can pay with."""

    data: list[PaymentMethodOut]


class InvoiceSummaryOut(Schema):
    """An invoice in a list."""

    id: UUID
    number: str
    order_id: UUID
    order_number: str
    status: str
    currency: str
    total: int
    settled: int
    business_date: date
    issued_at: datetime


class InvoicePage(Schema):
    """Some of a customer's invoices, the newest first."""

    data: list[InvoiceSummaryOut]
    next: str | None


class InvoiceOut(InvoiceSummaryOut):
    """An invoice with its lines."""

    customer_name: str
    lines: list[LineOut]


class FieldProblemOut(Schema):
    """What is wrong with one field, and the way out."""

    field: str
    code: str
    detail: str
    remedy: str


class ProblemOut(Schema):
    """Problem details after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    remedy: str
    request_id: str | None
    errors: list[FieldProblemOut]


def order_out(order: OrderDetail) -> OrderOut:
    """Return an order as programs see it."""
    return OrderOut(
        id=order.id,
        number=order.number,
        status=order.status,
        reason=order.reason or None,
        progress=order.progress.text,
        cancelable=order.progress.can_cancel,
        currency=order.currency,
        goods=order.goods,
        total=order.total,
        payment_method=order.payment_method_id,
        saga=SagaOut(id=order.saga_id, status=order.saga_status),
        business_date=order.business_date,
        placed_at=order.placed_at,
        confirmed_at=order.confirmed_at,
        closed_at=order.closed_at,
        lines=lines_out(order.lines),
    )


def lines_out(lines: Sequence[Any]) -> list[LineOut]:
    """Return the lines of an order or an invoice."""
    return [
        LineOut(
            position=line.position,
            sku=line.sku,
            description=line.description,
            quantity=line.quantity,
            unit_price=price_out(line.unit_price),
            line_total=line.line_total,
        )
        for line in lines
    ]


def summary_out(order: BoardEntry) -> OrderSummaryOut:
    """Return an order of a list."""
    return OrderSummaryOut(
        id=order.id,
        number=order.number,
        status=order.status,
        reason=order.reason or None,
        progress=order.progress.text,
        payment=order.payment or None,
        invoice=order.invoice_number or None,
        updating=order.is_updating,
        currency=order.currency,
        total=order.total,
        placed_at=order.placed_at,
    )


def product_out(product: ProductView) -> ProductOut:
    """Return a product."""
    return ProductOut(
        slug=product.slug,
        name=product.name,
        description=product.description,
        skus=[
            SkuOut(
                sku=sku.code,
                unit_price=price_out(sku.unit_price),
                currency=sku.currency,
                available=sku.available,
            )
            for sku in product.skus
        ],
    )


def price_out(price: Decimal) -> str:
    """Return a unit price exactly: as a text, since JSON's numbers lose digits."""
    whole = price.to_integral_value()
    return str(int(whole)) if whole == price else f"{price.normalize():f}"
