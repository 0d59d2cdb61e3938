"""The tables of the context, one subject a file."""

from orders.inventory.models import StockLevel, StockMovement, StockReservation
from orders.models.board import CustomerAccess, OrderBoard, Projection, Timeline
from orders.models.cart import Cart, CartLine
from orders.models.catalogue import Product, Sku
from orders.models.customer import ApiToken, Customer
from orders.models.messaging import (
    Barrier,
    Event,
    Idempotency,
    Inbox,
    Outbox,
    Position,
    StreamDue,
    StreamLease,
)
from orders.models.notification import Notification
from orders.models.order import Order, OrderLine

__all__ = [
    "ApiToken",
    "Barrier",
    "Cart",
    "CartLine",
    "Customer",
    "CustomerAccess",
    "Event",
    "Idempotency",
    "Inbox",
    "Notification",
    "Order",
    "OrderBoard",
    "OrderLine",
    "Outbox",
    "Position",
    "Product",
    "Projection",
    "Sku",
    "StockLevel",
    "StockMovement",
    "StockReservation",
    "StreamDue",
    "StreamLease",
    "Timeline",
]
