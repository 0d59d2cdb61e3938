"""What a saga may ask this context to do."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from sagas.api import Command


@dataclass(frozen=True, kw_only=True, slots=True)
class ReserveStock(Command[None]):
    """Set the goods of an order aside, all or none; rejected with ``out_of_stock``."""

    name: ClassVar[str] = "orders.ReserveStock"

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseStock(Command[None]):
    """Give the goods set aside for an order back."""

    name: ClassVar[str] = "orders.ReleaseStock"

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class FailOrder(Command[None]):
    """Close an order that came to nothing, as failed or as canceled."""

    name: ClassVar[str] = "orders.FailOrder"

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmOrder(Command[None]):
    """Confirm an order that is paid for and take its goods from the stock."""

    name: ClassVar[str] = "orders.ConfirmOrder"

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class NotifyCustomer(Command[None]):
    """Tell the customer of an order something, once."""

    name: ClassVar[str] = "orders.NotifyCustomer"

    order_id: UUID
    template: str
    invoice_number: str = ""
