"""What has happened in this context, told to whoever subscribed."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from sagas.api import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomerRegistered(Event):
    """Somebody may order."""

    name: ClassVar[str] = "orders.CustomerRegistered"

    customer_id: UUID
    customer_name: str
    email: str
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedLine:
    """One line of an order, as it was agreed."""

    position: int
    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    line_total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderPlaced(Event):
    """A customer ordered; nothing is reserved or paid yet."""

    name: ClassVar[str] = "orders.OrderPlaced"
    outside: ClassVar[str] = "the audit reads it (`audit.v_events`)"

    order_id: UUID
    number: str
    customer_id: UUID
    currency: str
    total: int
    business_date: date
    reference: str | None
    lines: tuple[PlacedLine, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderConfirmed(Event):
    """An order is paid for and its goods are taken from the stock."""

    name: ClassVar[str] = "orders.OrderConfirmed"

    order_id: UUID
    number: str
    customer_id: UUID
    currency: str
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFailed(Event):
    """An order came to nothing; whatever had been done for it is undone."""

    name: ClassVar[str] = "orders.OrderFailed"

    order_id: UUID
    number: str
    customer_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCanceled(Event):
    """An order was taken back before it was paid; whatever had been done for it is undone."""

    name: ClassVar[str] = "orders.OrderCanceled"

    order_id: UUID
    number: str
    customer_id: UUID
    reason: str
