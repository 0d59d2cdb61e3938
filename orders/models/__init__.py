"""The tables of the context, one subject a file."""

from orders.inventory.models import StockLevel, StockMovement, StockReservation
from orders.models.cart import Cart, CartLine
from orders.models.catalogue import Product, Sku
from orders.models.customer import ApiToken, Customer
from orders.models.messaging import Barrier, Event, Idempotency, Inbox, Outbox, Position
from orders.models.notification import Notification
from orders.models.order import Order, OrderLine

__all__ = [
    "ApiToken",
    "Barrier",
    "Cart",
    "CartLine",
    "Customer",
    "Event",
    "Idempotency",
    "Inbox",
    "Notification",
    "Order",
    "OrderLine",
    "Outbox",
    "Position",
    "Product",
    "Sku",
    "StockLevel",
    "StockMovement",
    "StockReservation",
]
