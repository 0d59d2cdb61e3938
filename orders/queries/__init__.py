"""Reads of this context; whatever a customer may see is looked up together with the customer."""

from orders.queries.board import AccessView, Board, BoardEntry, access_of, board_of
from orders.queries.carts import CartLineView, CartView, cart_of, contents_of, items_in_cart
from orders.queries.catalogue import ProductView, SkuView, catalogue, product, sku_of
from orders.queries.customers import (
    CustomerView,
    NotificationView,
    customer_by_token,
    customer_by_user,
    customer_of,
    notifications_of,
)
from orders.queries.orders import (
    AgreedOrder,
    OrderDetail,
    OrderLineView,
    OrderSummary,
    agreed,
    order_of,
    orders_of,
)

__all__ = [
    "AccessView",
    "AgreedOrder",
    "Board",
    "BoardEntry",
    "CartLineView",
    "CartView",
    "CustomerView",
    "NotificationView",
    "OrderDetail",
    "OrderLineView",
    "OrderSummary",
    "ProductView",
    "SkuView",
    "access_of",
    "agreed",
    "board_of",
    "cart_of",
    "catalogue",
    "contents_of",
    "customer_by_token",
    "customer_by_user",
    "customer_of",
    "items_in_cart",
    "notifications_of",
    "order_of",
    "orders_of",
    "product",
    "sku_of",
]
