"""The addresses of the shop."""

from django.urls import path

from orders.web import cart, catalogue, checkout, orders, problems

app_name = "shop"
urlpatterns = [
    path("", catalogue.catalogue, name="catalogue"),
    path("products/<slug:slug>/", catalogue.product, name="product"),
    path("cart/", cart.cart, name="cart"),
    path("cart/add/", cart.add, name="cart_add"),
    path("cart/change/", cart.change, name="cart_change"),
    path("checkout/", checkout.checkout, name="checkout"),
    path("orders/", orders.orders, name="orders"),
    path("orders/<uuid:order_id>/", orders.order, name="order"),
    path("orders/<uuid:order_id>/progress/", orders.progress, name="order_progress"),
    path("orders/<uuid:order_id>/cancel/", orders.cancel, name="order_cancel"),
    path("docs/http-api", problems.problems, name="problems"),
]
