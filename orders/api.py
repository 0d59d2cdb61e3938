"""The front door: what code outside this context may name."""

from orders.commands import ConfirmOrder, FailOrder, NotifyCustomer, ReleaseStock, ReserveStock
from orders.queries import catalogue, customer_of, order_of, orders_of
from orders.refusals import OrderRefused, Refusal
from orders.services import (
    Line,
    NewSku,
    PricedLine,
    add_product,
    add_products,
    cancel_order,
    issue_token,
    place_order,
    receive_stock,
    register_customer,
)

__all__ = [
    "ConfirmOrder",
    "FailOrder",
    "Line",
    "NewSku",
    "NotifyCustomer",
    "OrderRefused",
    "PricedLine",
    "Refusal",
    "ReleaseStock",
    "ReserveStock",
    "add_product",
    "add_products",
    "cancel_order",
    "catalogue",
    "customer_of",
    "issue_token",
    "order_of",
    "orders_of",
    "place_order",
    "receive_stock",
    "register_customer",
]
