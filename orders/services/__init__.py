"""Writes of this context; each opens its own transaction unless it says that it does not."""

from orders.services.canceling import ask_to_cancel_order, cancel_order
from orders.services.carts import (
    add_to_cart,
    draft_from_cart,
    empty_cart,
    put_in_cart,
    set_in_cart,
)
from orders.services.catalogue import NewSku, add_product, add_products, receive_stock, set_active
from orders.services.customers import mark_read, register_customer
from orders.services.drafting import Line, OrderDraft, PricedLine, draft_order
from orders.services.placing import place, place_order
from orders.services.tokens import IssuedToken, issue_token, revoke_token

__all__ = [
    "IssuedToken",
    "Line",
    "NewSku",
    "OrderDraft",
    "PricedLine",
    "add_product",
    "add_products",
    "add_to_cart",
    "ask_to_cancel_order",
    "cancel_order",
    "draft_from_cart",
    "draft_order",
    "empty_cart",
    "issue_token",
    "mark_read",
    "place",
    "place_order",
    "put_in_cart",
    "receive_stock",
    "register_customer",
    "revoke_token",
    "set_active",
    "set_in_cart",
]
